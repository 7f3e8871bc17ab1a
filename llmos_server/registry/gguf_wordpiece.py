"""BERT's WordPiece from a GGUF file, as a `tokenizers.Tokenizer`.

Converters mark the begin of a word with ▁ and drop the ## of what goes on inside one. Here BERT's own spelling comes
back. The text can't be put together from such tokens again (spaces and case are lost), so only encoders use them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

from llmos_server.registry.sentencepiece_models import NORMAL, SPACE, Pieces
from llmos_server.registry.wordpiece import assemble_wordpiece

UNUSED_TOKEN = re.compile(r"\[unused\d+\]")
"""Older converters leave these as they are, of type NORMAL."""


def build_wordpiece(metadata: Mapping[str, Any], pieces: Pieces) -> Tokenizer:
    """Special tokens are not added yet. pieces: texts as spell_words returns them."""
    unknown = "[UNK]" if pieces.unknown_id is None else pieces.texts[pieces.unknown_id]
    vocab = {text: i for i, text in enumerate(pieces.texts)}
    lowercase, strip_accents = _folding(metadata, pieces)
    return assemble_wordpiece(vocab, unknown, lowercase=lowercase, strip_accents=strip_accents)


def spell_words(texts: list[str], types: list[int]) -> list[str]:
    """From the converter's spelling to BERT's."""
    return [_spell(text) if kind == NORMAL else text for text, kind in zip(texts, types, strict=True)]


def _spell(text: str) -> str:
    if len(text) > 1 and text.startswith(SPACE):
        return text[1:]
    return text if UNUSED_TOKEN.fullmatch(text) else "##" + text


def _folding(metadata: Mapping[str, Any], pieces: Pieces) -> tuple[bool, bool]:
    """Whether case and accents are dropped. A file that doesn't say shows it: a folded vocabulary has no capitals."""
    lowercase = metadata.get("tokenizer.ggml.normalizer.lowercase")
    if not isinstance(lowercase, bool):
        words = (text for text, kind in zip(pieces.texts, pieces.types, strict=True) if kind == NORMAL)
        lowercase = not any(text != text.lower() for text in words if not UNUSED_TOKEN.fullmatch(text))
    strip_accents = metadata.get("tokenizer.ggml.normalizer.strip_accents")
    return lowercase, strip_accents if isinstance(strip_accents, bool) else lowercase
