"""Guesses by look-up: what followed the last few tokens when they occurred before, in prompt or answer.

The method is prompt look-up decoding (Apoorv Saxena, 2023); repetitions are continued as LZ77 copies them.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from llmos_server.engine.sequence import Sequence
from llmos_server.engine.step import StepPlan

MIN_TOKENS, MAX_TOKENS = 2, 4
"""How many of the last tokens have to occur before, and how many are looked at to choose among several places."""
ID_TYPE = "i"
ID_BYTES = array(ID_TYPE).itemsize


class NgramProposer:
    """A speculation.Proposer. Keeps each sequence's tokens as bytes, in which a search is as fast as in a text."""

    is_free = True
    seconds = 0.0

    def __init__(self) -> None:
        self._histories: dict[Sequence, bytearray] = {}

    def seconds_per_guess(self, num_sequences: int) -> float:
        return 0.0

    def propose(self, plan: StepPlan, wanted: Mapping[Sequence, int]) -> dict[Sequence, list[int]]:
        return {sequence: self._look_up(sequence, num_tokens) for sequence, num_tokens in wanted.items()}

    def forget(self, sequence: Sequence) -> None:
        self._histories.pop(sequence, None)

    def _look_up(self, sequence: Sequence, num_tokens: int) -> list[int]:
        history = self._histories.setdefault(sequence, bytearray())
        history += array(ID_TYPE, sequence.token_ids[len(history) // ID_BYTES :]).tobytes()
        period = find_period(history)
        if not period:
            return []
        ids = sequence.token_ids
        guess: list[int] = []
        for place in range(len(ids) - period, len(ids) - period + num_tokens):
            guess.append(ids[place] if place < len(ids) else guess[place - len(ids)])
        return guess


def find_period(history: bytearray) -> int:
    """How many tokens ago the last few occurred before: the latest of those places that have most of them, at least
    MIN_TOKENS; 0 if there is none."""
    place = _find_before(history, MIN_TOKENS)
    if place < 0:
        return 0
    for num_tokens in range(MAX_TOKENS, MIN_TOKENS, -1):
        longer = _find_before(history, num_tokens)
        if longer >= 0:
            place = longer
            break
    return (len(history) - place) // ID_BYTES


def _find_before(history: bytearray, num_tokens: int) -> int:
    """Where, in bytes, the latest earlier occurrence of the last num_tokens tokens ends; -1 if there is none."""
    size = num_tokens * ID_BYTES
    if len(history) <= size:
        return -1
    tail = bytes(history[-size:])
    place = history.rfind(tail, 0, len(history) - ID_BYTES)
    while place % ID_BYTES and place > 0:
        place = history.rfind(tail, 0, place + size - 1)
    return place + size if place >= 0 else -1
