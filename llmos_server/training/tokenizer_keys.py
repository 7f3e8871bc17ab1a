"""Keys of recipes that make a tokenizer. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from llmos_server.errors import InvalidRequest

MAX_VOCAB_SIZE = 2**18


@dataclass(frozen=True, kw_only=True)
class TokenizerKeys:
    """With the defaults of what isn't said."""

    tokenizer_type: Literal["bpe", "unigram"] = "bpe"
    vocab_size: int = 8192
    """Special tokens among them. A small corpus may not fill it."""
    special_tokens: list[str] = field(default_factory=list)
    """bpe: the end of a text first. unigram: as sentencepiece has them, unknown, begin, end, padding, then others."""
    model_max_length: int = 1024
    """Tokens, as models that use it are told."""
    min_frequency: int = 2
    """bpe: pairs that occur more seldom are not merged."""
    digits_apart: bool = True
    """A token a digit."""
    character_coverage: float = 0.9995
    """unigram: the share of the corpus's characters that have pieces; others are written as bytes."""


def read_tokenizer_keys(values: dict[str, Any]) -> TokenizerKeys:
    """Raises InvalidRequest that names the key. values: as training.recipe has checked them."""
    names = {field.name for field in fields(TokenizerKeys)}
    keys = TokenizerKeys(**{name: value for name, value in values.items() if name in names})
    least = 256 + len(keys.special_tokens)
    if keys.tokenizer_type not in ("bpe", "unigram"):
        raise InvalidRequest(
            f"tokenizer_type: {keys.tokenizer_type!r} is neither bpe nor unigram.", param="tokenizer_type"
        )
    if not least < keys.vocab_size <= MAX_VOCAB_SIZE:
        raise InvalidRequest(
            f"vocab_size: {keys.vocab_size}; it is more than {least} (every byte, and special tokens) and at most "
            f"{MAX_VOCAB_SIZE}.",
            param="vocab_size",
        )
    if not 0.9 <= keys.character_coverage <= 1:
        raise InvalidRequest("character_coverage: it is from 0.9 to 1.", param="character_coverage")
    num_needed = 4 if keys.tokenizer_type == "unigram" else 1
    if len(keys.special_tokens) < num_needed or len(set(keys.special_tokens)) != len(keys.special_tokens):
        raise InvalidRequest(
            f"special_tokens: {keys.tokenizer_type} needs at least {num_needed}, all different.", param="special_tokens"
        )
    return keys
