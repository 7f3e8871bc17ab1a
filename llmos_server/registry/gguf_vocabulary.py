"""What the tokenizer part of GGUF metadata says: tokens with their types and scores, and the special ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmos_server.errors import UnsupportedModel
from llmos_server.registry.gguf_wordpiece import spell_words
from llmos_server.registry.pre_tokenizers import pre_tokenizer_for
from llmos_server.registry.sentencepiece_models import CONTROL, Pieces, spell_user_defined

TURN_ENDS = ("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>")
"""Control tokens that end a turn, for files that don't say which does."""

KEYS = {
    "bos": ("bos_token_id", "cls_token_id"),
    "eos": ("eos_token_id",),
    "eot": ("eot_token_id",),
    "eom": ("eom_token_id",),
    "padding": ("padding_token_id",),
    "unknown": ("unknown_token_id",),
    "separator": ("seperator_token_id", "separator_token_id"),
    "mask": ("mask_token_id",),
}
"""Role -> keys below tokenizer.ggml, best first. The spelling "seperator" is the format's."""

DEFAULT_IDS: dict[str, dict[str, int]] = {
    "llama": {"bos": 1, "eos": 2, "unknown": 0},
    "t5": {"eos": 1, "unknown": 2, "padding": 0},
    "bert": {"bos": 101, "separator": 102, "unknown": 100, "padding": 0, "mask": 103},
}
"""Where the file is silent, as llama.cpp has them; other kinds have none."""


def token_texts(metadata: Mapping[str, Any]) -> list[str]:
    """Text of every token, by id, as tokenizer.json spells it.

    Raises UnsupportedModel when the table is missing or holds a text twice.
    """
    tokens = [text or f"[EMPTY_{i}]" for i, text in enumerate(read_texts(metadata, "tokenizer.ggml.tokens"))]
    kind = metadata.get("tokenizer.ggml.model")
    if kind in ("llama", "t5"):
        tokens = spell_user_defined(tokens, token_types(metadata, len(tokens)))
    elif kind == "bert":
        tokens = spell_words(tokens, token_types(metadata, len(tokens)))
    if len(set(tokens)) != len(tokens):
        twice = next(text for i, text in enumerate(tokens) if tokens.index(text) != i)
        raise UnsupportedModel(f"tokenizer.ggml.tokens holds {twice!r} twice.")
    return tokens


def token_types(metadata: Mapping[str, Any], num_tokens: int) -> list[int]:
    """One of sentencepiece_models' types for every token."""
    types = metadata.get("tokenizer.ggml.token_type")
    if not isinstance(types, list) or len(types) < num_tokens:
        raise UnsupportedModel("tokenizer.ggml.token_type is missing or shorter than tokenizer.ggml.tokens.")
    return types[:num_tokens]


def read_pieces(metadata: Mapping[str, Any]) -> Pieces:
    """The vocabulary with its scores; WordPiece has none."""
    texts = token_texts(metadata)
    scores = metadata.get("tokenizer.ggml.scores")
    if metadata.get("tokenizer.ggml.model") == "bert":
        scores = [0.0] * len(texts)
    if not isinstance(scores, list) or len(scores) < len(texts):
        raise UnsupportedModel("tokenizer.ggml.scores is missing or shorter than tokenizer.ggml.tokens.")
    types = token_types(metadata, len(texts))
    return Pieces(texts=texts, scores=scores[: len(texts)], types=types, unknown_id=token_id(metadata, "unknown"))


def token_id(metadata: Mapping[str, Any], role: str) -> int | None:
    """The id of one of KEYS' roles: the file's if it has one in range, else the default of its kind."""
    num_tokens = len(metadata.get("tokenizer.ggml.tokens", ()))
    kind = str(metadata.get("tokenizer.ggml.model"))
    default = DEFAULT_IDS.get(kind, {}).get(role)
    for value in (*(metadata.get(f"tokenizer.ggml.{key}") for key in KEYS[role]), default):
        if type(value) is int and 0 <= value < num_tokens:
            return value
    return None


def end_ids(metadata: Mapping[str, Any], tokens: list[str]) -> list[int]:
    """Ids that end an answer: EOS first, then end of turn and of message where they differ."""
    found = [token_id(metadata, role) for role in ("eos", "eot", "eom")]
    if found[1] is None:
        types = metadata.get("tokenizer.ggml.token_type", ())
        found += [i for i, text in enumerate(tokens) if text in TURN_ENDS and i < len(types) and types[i] == CONTROL]
    return list(dict.fromkeys(i for i in found if i is not None))


def adds_bos(metadata: Mapping[str, Any]) -> bool:
    """Whether encoding with special tokens begins with BOS, which is [CLS] for BERT."""
    said = metadata.get("tokenizer.ggml.add_bos_token")
    if isinstance(said, bool):
        return said
    kind = metadata.get("tokenizer.ggml.model")
    return pre_tokenizer_for(metadata.get("tokenizer.ggml.pre")).add_bos if kind == "gpt2" else kind != "t5"


def last_id(metadata: Mapping[str, Any]) -> int | None:
    """What encoding with special tokens ends with: BERT's separator, EOS, or nothing."""
    kind = metadata.get("tokenizer.ggml.model")
    if kind == "bert":
        return token_id(metadata, "separator")
    said = metadata.get("tokenizer.ggml.add_eos_token")
    return token_id(metadata, "eos") if (said if isinstance(said, bool) else kind == "t5") else None


def read_texts(metadata: Mapping[str, Any], key: str) -> list[str]:
    """A list of texts that must be there."""
    texts = metadata.get(key)
    if not isinstance(texts, list) or not texts or not isinstance(texts[0], str):
        raise UnsupportedModel(f"The GGUF file has no {key}; a tokenizer can't be built from it.")
    return texts
