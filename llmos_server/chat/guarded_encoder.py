"""Text to token ids, with chosen special-token literals treated as plain text."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

from tokenizers import AddedToken, Tokenizer

from llmos_server.chat.literals import Span, SpecialLiterals


class GuardedEncoder:
    """Encodes as `tokenizer.encode(text, add_special_tokens=False)` does, but for the spans it is told to take as text.

    Only a text with such spans is cut: at its other special tokens, where every tokenizer cuts anyway. The stretches in
    between are encoded whole by a second tokenizer that knows no special tokens (built at the first such text).
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._special: dict[str, tuple[int, AddedToken]] = {
            token.content: (token_id, token)
            for token_id, token in tokenizer.get_added_tokens_decoder().items()
            if token.special
        }
        self._special_ids = frozenset(token_id for token_id, _ in self._special.values())
        self.literals = SpecialLiterals(self._special)

    def encode(self, text: str, plain_spans: Sequence[Span]) -> list[int]:
        if not plain_spans:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
            return ids
        return self.encode_cut(text, plain_spans)

    def encode_plain(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Every special-token literal is text; the tokenizer's own BOS or EOS are added if asked for."""
        encoding = self._at_start.encode(text, add_special_tokens=add_special_tokens)
        ids: list[int] = encoding.ids
        inner = [place for place, added in enumerate(encoding.special_tokens_mask) if not added]
        spans = list(self.literals.find(text))
        if not inner or not self._meant_by(text, spans).intersection(ids[place] for place in inner):
            return ids
        return [*ids[: inner[0]], *self._encode_stretch(text, 0, len(text), spans), *ids[inner[-1] + 1 :]]

    def holds_special(self, ids: Sequence[int]) -> bool:
        """ids: of a text, without what the tokenizer adds around it."""
        return not self._special_ids.isdisjoint(ids)

    def encode_cut(self, text: str, plain_spans: Sequence[Span]) -> list[int]:
        """The cutting path; with no spans it gives the same ids as the tokenizer itself."""
        plain = sorted(plain_spans)
        known = set(plain)
        ids: list[int] = []
        done = 0
        for start, end in self.literals.find(text):
            if (start, end) in known:
                continue
            token_id, token = self._special[text[start:end]]
            ids += self._encode_stretch(text, done, _before(text, done, start, token), plain)
            ids.append(token_id)
            done = _after(text, end, token)
        return ids + self._encode_stretch(text, done, len(text), plain)

    def _encode_stretch(self, text: str, start: int, end: int, plain: list[Span]) -> list[int]:
        if start >= end:
            return []
        inside = plain[bisect_left(plain, (start, 0)) : bisect_left(plain, (end, 0))]
        ids = self._encode_piece(text, start, end)
        if self._meant_by(text, inside).isdisjoint(ids):
            return ids
        # A model whose vocabulary itself holds the literal finds it in plain text too: break it after one character.
        places = [start, *(a + 1 for a, _ in inside), end]
        return [token for a, b in pairwise(places) for token in self._encode_piece(text, a, b)]

    def _meant_by(self, text: str, spans: Iterable[Span]) -> set[int]:
        """The tokens that the literals at these places would be."""
        return {self._special[text[start:end]][0] for start, end in spans}

    def _encode_piece(self, text: str, start: int, end: int) -> list[int]:
        tokenizer = self._at_start if start == 0 else self._further_on
        ids: list[int] = tokenizer.encode(text[start:end], add_special_tokens=False).ids
        return ids

    @cached_property
    def _at_start(self) -> Tokenizer:
        return _create_plain(self._tokenizer.to_str())

    @cached_property
    def _further_on(self) -> Tokenizer:
        """Puts no space before its text, which is not the begin of the whole, if the tokenizer does so only there."""
        source = json.loads(self._tokenizer.to_str())
        if not _prepend_never(source.get("pre_tokenizer")):
            return self._at_start
        return _create_plain(json.dumps(source))


def _create_plain(source: str) -> Tokenizer:
    tokenizer = Tokenizer.from_str(source)
    tokenizer.encode_special_tokens = True
    return tokenizer


def _prepend_never(step: Any) -> bool:
    """Change Metaspace steps that act at the begin of a text only; was there one?"""
    if not isinstance(step, dict):
        return False
    if step["type"] == "Sequence":
        changed = [_prepend_never(part) for part in step["pretokenizers"]]
        return any(changed)
    if step["type"] != "Metaspace" or step.get("prepend_scheme") != "first":
        return False
    step["prepend_scheme"] = "never"
    return True


def _before(text: str, done: int, start: int, token: AddedToken) -> int:
    """Where the stretch before a special token ends: such a token may swallow white space on its left …"""
    while token.lstrip and start > done and text[start - 1].isspace():
        start -= 1
    return start


def _after(text: str, end: int, token: AddedToken) -> int:
    """… and on its right."""
    while token.rstrip and end < len(text) and text[end].isspace():
        end += 1
    return end
