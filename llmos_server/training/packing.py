"""Texts to full rows: their tokens end to end, cut into rows of one length, so that nothing is padding. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable


def pack(texts: Iterable[list[int]], length: int) -> list[list[int]]:
    """No token is lost: the last row is shorter. One of a single token, from which nothing is learned, is left out."""
    stream = [token for ids in texts for token in ids]
    rows = [stream[at : at + length] for at in range(0, len(stream), length)]
    return rows[:-1] if rows and len(rows[-1]) < 2 else rows
