"""Memory for weights in pages of 2 MiB where the system has them. A decode step reads all weights once, and with pages
of 4 KiB the processor spends a fourth of that time on finding out where they are."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Empty = Callable[[tuple[int, ...], npt.DTypeLike], Array]
"""As numpy.empty."""

PAGE = 2 << 20
BLOCK = 32 << 20
"""What is asked for at a time; what nobody writes to takes no memory."""
ALIGNMENT = 64
HAS_HUGE_PAGES = hasattr(mmap, "MADV_HUGEPAGE")


class HugePages:
    """Hands out arrays, one after another. A block is given back when all arrays in it are gone. For one thread."""

    def __init__(self) -> None:
        self._block = np.empty(0, np.uint8)
        self._used = 0

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """As numpy.empty."""
        num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        if num_bytes > BLOCK:
            return _map(num_bytes)[:num_bytes].view(dtype).reshape(shape)
        if num_bytes > len(self._block) - self._used:
            self._block, self._used = _map(BLOCK), 0
        start = self._used
        self._used += -(-num_bytes // ALIGNMENT) * ALIGNMENT
        return self._block[start : start + num_bytes].view(dtype).reshape(shape)


def _map(num_bytes: int) -> Array:
    """Zeros [num_bytes], which begin with a page."""
    if not HAS_HUGE_PAGES:
        return np.zeros(num_bytes, np.uint8)
    memory = mmap.mmap(-1, num_bytes + PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(memory, np.uint8)
    start = -whole.ctypes.data % PAGE
    return whole[start : start + num_bytes]
