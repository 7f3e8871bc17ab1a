"""The tokenizer that a GGUF file describes, as a `tokenizers.Tokenizer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, processors

from llmos_server.errors import UnsupportedModel
from llmos_server.registry.gguf_vocabulary import (
    adds_bos,
    end_ids,
    last_id,
    read_pieces,
    read_texts,
    token_id,
    token_texts,
    token_types,
)
from llmos_server.registry.gguf_wordpiece import build_wordpiece
from llmos_server.registry.pre_tokenizers import pre_tokenizer_for
from llmos_server.registry.sentencepiece_models import (
    CONTROL,
    UNKNOWN,
    USER_DEFINED,
    Spelling,
    build_bpe,
    build_unigram,
)


def build_tokenizer(metadata: Mapping[str, Any]) -> Tokenizer:
    """metadata: GGUFFile.metadata.

    Control tokens are `special` (skipped when decoding; text when `encode_special_tokens` is set), user-defined ones
    are always matched. A post-processor adds BOS and EOS where the file says so.
    Raises UnsupportedModel for another kind than BUILDERS', unknown split rules or inconsistent tables.
    """
    kind = metadata.get("tokenizer.ggml.model")
    build = BUILDERS.get(kind) if isinstance(kind, str) else None
    if build is None:
        raise UnsupportedModel(
            f"tokenizer.ggml.model is {kind!r}; known are {', '.join(BUILDERS)}. "
            "Take the safetensors version of the model: it brings its own tokenizer.json."
        )
    tokenizer = build(metadata)
    tokens = token_texts(metadata)
    _add_matched_tokens(tokenizer, tokens, metadata)
    template = _template(tokens, metadata)
    if template is not None:
        tokenizer.post_processor = template
    return tokenizer


def _byte_level_bpe(metadata: Mapping[str, Any]) -> Tokenizer:
    rules = pre_tokenizer_for(metadata.get("tokenizer.ggml.pre"))
    tokens, merges = token_texts(metadata), read_texts(metadata, "tokenizer.ggml.merges")
    # A part may itself begin with a space, hence the search from 1.
    cuts = [merge.find(" ", 1) for merge in merges]
    if -1 in cuts:
        raise UnsupportedModel(f"tokenizer.ggml.merges holds {merges[cuts.index(-1)]!r}, which is no pair.")
    pairs = [(merge[:cut], merge[cut + 1 :]) for merge, cut in zip(merges, cuts, strict=True)]
    vocab = {text: i for i, text in enumerate(tokens)}
    try:
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=pairs, ignore_merges=rules.ignore_merges))
    except Exception as error:  # the library raises nothing narrower
        raise UnsupportedModel(f"tokenizer.ggml.merges and tokenizer.ggml.tokens disagree: {error}.") from None
    if rules.normalize is not None:
        tokenizer.normalizer = rules.normalize()
    tokenizer.pre_tokenizer = rules.build()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece_bpe(metadata: Mapping[str, Any]) -> Tokenizer:
    return build_bpe(read_pieces(metadata), _spelling(metadata))


def _sentencepiece_unigram(metadata: Mapping[str, Any]) -> Tokenizer:
    return build_unigram(read_pieces(metadata), _spelling(metadata))


def _wordpiece(metadata: Mapping[str, Any]) -> Tokenizer:
    return build_wordpiece(metadata, read_pieces(metadata))


BUILDERS: dict[str, Callable[[Mapping[str, Any]], Tokenizer]] = {
    "gpt2": _byte_level_bpe,
    "llama": _sentencepiece_bpe,
    "t5": _sentencepiece_unigram,
    "bert": _wordpiece,
}
"""Values of tokenizer.ggml.model."""


def _spelling(metadata: Mapping[str, Any]) -> Spelling:
    adds_space = metadata.get("tokenizer.ggml.add_space_prefix")
    charsmap = metadata.get("tokenizer.ggml.precompiled_charsmap") or []
    try:
        # Some writers call the bytes signed.
        table = bytes(byte & 255 for byte in charsmap)
    except TypeError:
        raise UnsupportedModel("tokenizer.ggml.precompiled_charsmap holds something else than bytes.") from None
    return Spelling(
        adds_space=adds_space if isinstance(adds_space, bool) else metadata.get("tokenizer.ggml.model") == "llama",
        merges_spaces=metadata.get("tokenizer.ggml.remove_extra_whitespaces") is True,
        charsmap=table,
    )


def _add_matched_tokens(tokenizer: Tokenizer, tokens: list[str], metadata: Mapping[str, Any]) -> None:
    types = token_types(metadata, len(tokens))
    ends = set(end_ids(metadata, tokens))
    special: list[AddedToken] = []
    plain: list[AddedToken] = []
    for index, (text, kind) in enumerate(zip(tokens, types, strict=True)):
        if kind in (UNKNOWN, CONTROL) or (kind == USER_DEFINED and index in ends):
            special.append(AddedToken(text, normalized=False, special=True))
        elif kind == USER_DEFINED:
            plain.append(AddedToken(text, normalized=False))
    # In two calls: each builds the matcher of all of them again, and Gemma has 6,000.
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens(plain)


def _template(tokens: list[str], metadata: Mapping[str, Any]) -> processors.TemplateProcessing | None:
    begin = token_id(metadata, "bos") if adds_bos(metadata) else None
    end = last_id(metadata)
    if begin is None and end is None:
        return None
    first = [tokens[begin]] if begin is not None else []
    last = [tokens[end]] if end is not None else []
    second = [*first, "$B", *last]
    if metadata.get("tokenizer.ggml.model") == "bert":
        second = ["$B:1", *(f"{token}:1" for token in last)]
    return processors.TemplateProcessing(
        single=[*first, "$A", *last],
        pair=[*first, "$A", *last, *second],
        special_tokens=[(tokens[i], i) for i in dict.fromkeys((begin, end)) if i is not None],
    )
