"""Which bytes each token stands for, so that text can be put together token by token."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from tokenizers import Tokenizer

from llmos_server.errors import UnsupportedModel

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Vocabulary:
    """The bytes of every token of a model's tokenizer.

    Three families of decoders are known: byte-level BPE; SentencePiece's (▁ is a space, <0x..> a byte); and BERT's
    WordPiece (a token without ## begins a word). For the latter two a space at the very begin of a text is dropped.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Raises UnsupportedModel for a tokenizer that decodes in another way."""
        steps = _decoder_steps(json.loads(tokenizer.to_str())["decoder"])
        to_bytes = _create_converter(steps)
        # A byte-level token outside its alphabet stands for its own text; SentencePiece's may hold ▁ (Gemma's ▁▁).
        is_spelled_out = any(step["type"] == "ByteLevel" for step in steps)
        self.strips_first_space = any(_strips_first_space(step) for step in steps)
        added = tokenizer.get_added_tokens_decoder()
        tokens = {token_id: token for token, token_id in tokenizer.get_vocab(with_added_tokens=True).items()}
        self.size = max(tokens, default=-1) + 1
        self.special_ids = frozenset(token_id for token_id, token in added.items() if token.special)
        self._bytes = [b""] * self.size
        for token_id, token in tokens.items():
            is_literal = token_id in self.special_ids or (is_spelled_out and token_id in added)
            self._bytes[token_id] = token.encode() if is_literal else to_bytes(token)

    def token_bytes(self, token_id: int) -> bytes:
        """Empty for an id that the tokenizer doesn't have: models pad their vocabulary."""
        return self._bytes[token_id] if 0 <= token_id < self.size else b""

    def joined(self, ids: Sequence[int], *, skip_special_tokens: bool) -> bytes:
        special = self.special_ids if skip_special_tokens else frozenset()
        return b"".join(self.token_bytes(token_id) for token_id in ids if token_id not in special)


def _decoder_steps(decoder: dict[str, Any] | None) -> list[dict[str, Any]]:
    if decoder is None:
        return []
    if decoder["type"] == "Sequence":
        return [step for part in decoder["decoders"] for step in _decoder_steps(part)]
    return [decoder]


def _create_converter(steps: list[dict[str, Any]]) -> Callable[[str], bytes]:
    kinds = [step["type"] for step in steps]
    if "ByteLevel" in kinds:
        return _byte_level
    if kinds == ["WordPiece"]:
        return _create_wordpiece(steps[0]["prefix"])
    unknown = set(kinds) - {"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"}
    replaced = [pair for step in steps if (pair := _replacement(step))]
    if unknown or not kinds or len(replaced) < kinds.count("Replace") + kinds.count("Metaspace"):
        name = ", ".join(sorted(unknown)) or ", ".join(kinds) or "none"
        raise UnsupportedModel(
            f"The tokenizer's decoder ({name}) is not supported; byte-level BPE, SentencePiece's and WordPiece are."
        )
    has_byte_tokens = "ByteFallback" in kinds

    def convert(token: str) -> bytes:
        match = _BYTE_TOKEN.fullmatch(token) if has_byte_tokens else None
        if match:
            return bytes([int(match[1], 16)])
        for old, new in replaced:
            token = token.replace(old, new)
        return token.encode()

    return convert


def _create_wordpiece(prefix: str) -> Callable[[str], bytes]:
    """Without the decoder's clean-up, which takes spaces away before punctuation: a token's text is its own."""
    return lambda token: (token.removeprefix(prefix) if token.startswith(prefix) else f" {token}").encode()


def _replacement(step: dict[str, Any]) -> tuple[str, str] | None:
    if step["type"] == "Metaspace":
        return step["replacement"], " "
    if step["type"] == "Replace" and "String" in step["pattern"]:
        return step["pattern"]["String"], step["content"]
    return None


def _strips_first_space(step: dict[str, Any]) -> bool:
    if step["type"] == "WordPiece":
        return True
    if step["type"] == "Metaspace":
        return bool(step.get("prepend_scheme", "always") != "never")
    return bool(step["type"] == "Strip" and step["content"] == " " and step["start"] > 0)


def _byte_level_alphabet() -> dict[str, int]:
    """GPT-2's: printable Latin-1 bytes stand for themselves, the others for the characters from U+0100 on, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{chr(byte): byte for byte in printable}, **{chr(0x100 + i): byte for i, byte in enumerate(others)}}


_ALPHABET = _byte_level_alphabet()


def _byte_level(token: str) -> bytes:
    try:
        return bytes([_ALPHABET[character] for character in token])
    except KeyError:
        return token.encode()
