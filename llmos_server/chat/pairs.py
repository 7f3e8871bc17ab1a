"""Pairs of texts as a cross-encoder reads them: both in one input, special tokens around and between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Tokenizer

from llmos_server.errors import UnsupportedModel


@dataclass(frozen=True, slots=True)
class Pair:
    """Ready for the model."""

    ids: list[int]
    second_start: int
    """From where on tokens are of the second kind (BERT's token types); all ids where the tokenizer knows no kinds."""
    is_cut: bool


class PairEncoder:
    """Each text is encoded once, however many pairs it is in. Make one for each request.

    encode: a text's tokens, without special ones and with what spells one left as text.
    """

    def __init__(self, tokenizer: Tokenizer, encode: Callable[[str], list[int]]) -> None:
        """Raises UnsupportedModel for a tokenizer that makes no pairs."""
        self._encode = encode
        self._known: dict[str, list[int]] = {}
        probe = tokenizer.encode("a", "a", add_special_tokens=True)
        firsts = [place for place, number in enumerate(probe.sequence_ids) if number == 0]
        seconds = [place for place, number in enumerate(probe.sequence_ids) if number == 1]
        if not firsts or not seconds:
            raise UnsupportedModel("This model's tokenizer makes no pairs of texts.")
        self._before = probe.ids[: firsts[0]]
        self._between = probe.ids[firsts[-1] + 1 : seconds[0]]
        self._after = probe.ids[seconds[-1] + 1 :]
        kinds = [place for place, kind in enumerate(probe.type_ids) if kind]
        self._kind_offset = kinds[0] - firsts[-1] - 1 if kinds else None

    @property
    def num_special(self) -> int:
        return len(self._before) + len(self._between) + len(self._after)

    def num_tokens(self, text: str) -> int:
        return len(self._tokens(text))

    def pair(self, first: str, second: str, *, max_tokens: int | None = None, max_second: int | None = None) -> Pair:
        """max_tokens: of the whole; max_second: of the second text. The second text's end is cut for them, the first
        never: with less room than it needs, the pair is longer than max_tokens."""
        head, tail = self._tokens(first), self._tokens(second)
        rooms = [] if max_second is None else [max_second]
        if max_tokens is not None:
            rooms.append(max(0, max_tokens - self.num_special - len(head)))
        kept = tail[: min(rooms)] if rooms else tail
        begin = len(self._before) + len(head)
        ids = [*self._before, *head, *self._between, *kept, *self._after]
        start = len(ids) if self._kind_offset is None else begin + self._kind_offset
        return Pair(ids, start, len(kept) < len(tail))

    def _tokens(self, text: str) -> list[int]:
        if text not in self._known:
            self._known[text] = self._encode(text)
        return self._known[text]
