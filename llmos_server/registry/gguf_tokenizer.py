"""The tokenizer that a GGUF file describes, as a `tokenizers.Tokenizer`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, processors

from llmos_server.errors import UnsupportedModel
from llmos_server.registry.pre_tokenizers import pre_tokenizer_for

UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4
"""Values of tokenizer.ggml.token_type that are matched in the text before it is split."""

TURN_ENDS = ("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>")
"""Control tokens that end a turn, for files that don't say which does."""


def build_tokenizer(metadata: Mapping[str, Any]) -> Tokenizer:
    """metadata: GGUFFile.metadata.

    Control tokens are `special` (skipped when decoding; text when `encode_special_tokens` is set), user-defined ones
    are always matched. A post-processor adds BOS and EOS where the file says so.
    Raises UnsupportedModel for another kind than byte-level BPE, unknown split rules or inconsistent tables.
    """
    kind = metadata.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise UnsupportedModel(
            f"tokenizer.ggml.model is {kind!r}; only byte-level BPE ('gpt2') can be read from a GGUF file. "
            "Take the safetensors version of the model: it brings its own tokenizer.json."
        )
    rules = pre_tokenizer_for(metadata.get("tokenizer.ggml.pre"))
    tokens = token_texts(metadata)
    tokenizer = Tokenizer(_bpe(tokens, _texts(metadata, "tokenizer.ggml.merges"), rules.ignore_merges))
    if rules.normalize is not None:
        tokenizer.normalizer = rules.normalize()
    tokenizer.pre_tokenizer = rules.build()
    tokenizer.decoder = decoders.ByteLevel()
    _add_matched_tokens(tokenizer, tokens, metadata)
    template = _template(tokens, metadata)
    if template is not None:
        tokenizer.post_processor = template
    return tokenizer


def token_texts(metadata: Mapping[str, Any]) -> list[str]:
    """Text of every token, by id. Raises UnsupportedModel when the table is missing or holds a text twice."""
    tokens = [text or f"[EMPTY_{i}]" for i, text in enumerate(_texts(metadata, "tokenizer.ggml.tokens"))]
    if len(set(tokens)) != len(tokens):
        twice = next(text for i, text in enumerate(tokens) if tokens.index(text) != i)
        raise UnsupportedModel(f"tokenizer.ggml.tokens holds {twice!r} twice.")
    return tokens


def token_id(metadata: Mapping[str, Any], role: str) -> int | None:
    """The id of "bos", "eos", "eot", "eom", "padding" or "unknown", if the file has one in range."""
    value = metadata.get(f"tokenizer.ggml.{role}_token_id")
    in_range = type(value) is int and 0 <= value < len(metadata.get("tokenizer.ggml.tokens", ()))
    return value if in_range else None


def end_ids(metadata: Mapping[str, Any], tokens: list[str]) -> list[int]:
    """Ids that end an answer: EOS first, then end of turn and of message where they differ."""
    found = [token_id(metadata, role) for role in ("eos", "eot", "eom")]
    if found[1] is None:
        types = metadata.get("tokenizer.ggml.token_type", ())
        found += [i for i, text in enumerate(tokens) if text in TURN_ENDS and i < len(types) and types[i] == CONTROL]
    return list(dict.fromkeys(i for i in found if i is not None))


def adds_bos(metadata: Mapping[str, Any]) -> bool:
    """Whether encoding with special tokens begins with BOS."""
    said = metadata.get("tokenizer.ggml.add_bos_token")
    return said if isinstance(said, bool) else pre_tokenizer_for(metadata.get("tokenizer.ggml.pre")).add_bos


def _texts(metadata: Mapping[str, Any], key: str) -> list[str]:
    texts = metadata.get(key)
    if not isinstance(texts, list) or not texts or not isinstance(texts[0], str):
        raise UnsupportedModel(f"The GGUF file has no {key}; a tokenizer can't be built from it.")
    return texts


def _bpe(tokens: list[str], merges: list[str], ignore_merges: bool) -> models.BPE:
    # A part may itself begin with a space, hence the search from 1.
    cuts = [merge.find(" ", 1) for merge in merges]
    if -1 in cuts:
        raise UnsupportedModel(f"tokenizer.ggml.merges holds {merges[cuts.index(-1)]!r}, which is no pair.")
    pairs = [(merge[:cut], merge[cut + 1 :]) for merge, cut in zip(merges, cuts, strict=True)]
    try:
        return models.BPE(vocab={text: i for i, text in enumerate(tokens)}, merges=pairs, ignore_merges=ignore_merges)
    except Exception as error:
        raise UnsupportedModel(f"tokenizer.ggml.merges and tokenizer.ggml.tokens disagree: {error}.") from None


def _add_matched_tokens(tokenizer: Tokenizer, tokens: list[str], metadata: Mapping[str, Any]) -> None:
    types = metadata.get("tokenizer.ggml.token_type")
    if not isinstance(types, list) or len(types) < len(tokens):
        raise UnsupportedModel("tokenizer.ggml.token_type is missing or shorter than tokenizer.ggml.tokens.")
    ends = set(end_ids(metadata, tokens))
    for index, text in enumerate(tokens):
        if types[index] not in (UNKNOWN, CONTROL, USER_DEFINED):
            continue
        token = AddedToken(text, normalized=False, special=types[index] != USER_DEFINED or index in ends)
        if token.special:
            tokenizer.add_special_tokens([token])
        else:
            tokenizer.add_tokens([token])


def _template(tokens: list[str], metadata: Mapping[str, Any]) -> processors.TemplateProcessing | None:
    bos, eos = token_id(metadata, "bos"), token_id(metadata, "eos")
    begin = bos if adds_bos(metadata) else None
    end = eos if metadata.get("tokenizer.ggml.add_eos_token") is True else None
    if begin is None and end is None:
        return None
    first = [tokens[begin]] if begin is not None else []
    last = [tokens[end]] if end is not None else []
    return processors.TemplateProcessing(
        single=[*first, "$A", *last],
        pair=[*first, "$A", *last, *first, "$B", *last],
        special_tokens=[(tokens[i], i) for i in dict.fromkeys((begin, end)) if i is not None],
    )
