"""Matrices packed some rows at a time, on several threads, so that a load holds little beside what it keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from llmos_server.kernels.native.huge_pages import Empty
from llmos_server.kernels.native.packing import LANES, PackedMatrix

CHUNK_WEIGHTS = 1 << 18
"""Packed at a time by a thread: what is made on the way stays in cache."""


def pack_by_rows(
    shape: tuple[int, int], pack: Callable[[slice], PackedMatrix], num_threads: int, empty: Empty = np.empty
) -> PackedMatrix:
    """What `pack` makes of all rows. Any thread calls it for some of them, a multiple of LANES but for the last ones.

    All arrays of a PackedMatrix have as many equal parts, one after the other, as there are tiles of LANES rows.
    """
    num_rows, num_columns = shape
    step = max(1, CHUNK_WEIGHTS // (num_columns * LANES)) * LANES
    spans = [slice(start, min(start + step, num_rows)) for start in range(0, num_rows, step)]
    first = pack(spans[0])
    num_tiles, tiles_of_first = -(-num_rows // LANES), -(-spans[0].stop // LANES)
    pieces = {field.name: getattr(first, field.name) for field in dataclasses.fields(first)}
    joined: dict[str, Any] = {
        name: empty((len(piece) // tiles_of_first * num_tiles, *piece.shape[1:]), piece.dtype)
        for name, piece in pieces.items()
        if isinstance(piece, np.ndarray)
    }

    def fill(span: slice) -> None:
        piece = pack(span)
        for name, whole in joined.items():
            start = span.start // LANES * (len(whole) // num_tiles)
            part = getattr(piece, name)
            whole[start : start + len(part)] = part

    with ThreadPoolExecutor(num_threads) as pool:
        list(pool.map(fill, spans))  # Raises what a thread raised.
    return dataclasses.replace(first, num_out=num_rows, **joined)
