"""The tensors behind the pages, and how many pages fit a memory budget."""

from __future__ import annotations

import contextlib
import math
import mmap
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import torch

from llmos_server.engine.memory import default_cache_bytes, memory_limit
from llmos_server.errors import EngineFailed
from llmos_server.kernels.base import HeadLayout, LayerCache, PageFormat

HUGE_FROM_BYTES = 4 * 2**20
"""Tensors from here on ask for the system's larger pages."""


class KVCache:
    """Keys and values of every layer. Page ids run from 0 to num_pages - 1; a page has its part in each layer.

    On a CPU the operating system commits the memory as pages are first written: an idle pool costs next to nothing.
    Linux takes it back, too: release_pages().
    """

    def __init__(self, pages: PageFormat, layouts: Sequence[HeadLayout], num_pages: int, device: torch.device) -> None:
        """layouts: one a layer."""
        self.num_pages = num_pages
        self._untouched = set(range(num_pages))
        self._memories: list[tuple[mmap.mmap, int]] = []
        """Of the tensors, in order, with the bytes of a page in each."""
        dtype = pages.cache_dtype
        self.layers = [
            LayerCache(self._zeros(shape.keys, dtype, device), self._zeros(shape.values, dtype, device))
            for shape in (pages.cache_shapes(num_pages, layout) for layout in layouts)
        ]

    @property
    def can_release(self) -> bool:
        """Whether memory of pages can be given back: elsewhere it isn't known to be zero afterwards."""
        return bool(self._memories) and sys.platform == "linux"

    def clear_pages(self, page_ids: Sequence[int]) -> None:
        """Set whole pages to zero.

        A page that was never handed out is zero, and clearing it would commit its memory: 0.4 s for 4,000 tokens of
        smollm2:135m, within one step.
        """
        used = [page for page in page_ids if page not in self._untouched]
        self._untouched.difference_update(page_ids)
        if not used:
            return
        ids = torch.tensor(used, dtype=torch.int64, device=self.layers[0].keys.device)
        for layer in self.layers:
            for pages in layer:
                pages.index_fill_(0, ids, 0)

    def copy_pages(self, copies: Sequence[tuple[int, int]]) -> None:
        """Copy whole pages, (source, destination) each; no page may be both."""
        if not copies:
            return
        self._untouched.difference_update(destination for _, destination in copies)
        device = self.layers[0].keys.device
        sources, destinations = torch.tensor(copies, dtype=torch.int64, device=device).unbind(1)
        for layer in self.layers:
            for pages in layer:
                pages.index_copy_(0, destinations, pages.index_select(0, sources))

    def release_pages(self, page_ids: Iterable[int]) -> None:
        """Nobody will read what they hold: the system gets their memory, but for what it shares with other pages.

        They are zero afterwards. Nothing happens where `can_release` is False.
        """
        if not self.can_release:
            return
        released = sorted(set(page_ids) - self._untouched)
        for first, end in _runs(released):
            for memory, size in self._memories:
                _release(memory, first * size, end * size)
        self._untouched.update(released)

    def _zeros(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """Uncommitted where possible; torch's own zeros are written at once."""
        if device.type != "cpu":
            return torch.zeros(shape, dtype=dtype, device=device)
        num_bytes = math.prod(shape) * dtype.itemsize
        memory = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if num_bytes >= HUGE_FROM_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):
                memory.madvise(mmap.MADV_HUGEPAGE)
        self._memories.append((memory, num_bytes // self.num_pages))
        return torch.frombuffer(memory, dtype=dtype).view(shape)


def _runs(page_ids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """(first, one past the last) of ids in a row; page_ids: sorted."""
    for _, run in groupby(enumerate(page_ids), lambda pair: pair[1] - pair[0]):
        ids = [page for _, page in run]
        yield ids[0], ids[-1] + 1


def _release(memory: mmap.mmap, start: int, end: int) -> None:
    """Bytes from start to end become zero; whole pages of the system's are no longer committed."""
    first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
    if first >= last:
        memory[start:end] = bytes(end - start)
        return
    memory[start:first], memory[last:end] = bytes(first - start), bytes(end - last)
    memory.madvise(mmap.MADV_DONTNEED, first, last - first)


def page_bytes(pages: PageFormat, layouts: Sequence[HeadLayout]) -> int:
    """Keys and values of one page in all layers."""
    return pages.cache_dtype.itemsize * sum(
        math.prod(shape) for layout in layouts for shape in pages.cache_shapes(1, layout)
    )


def num_pages_for(budget: int, size: int, max_useful: int) -> int:
    """Pages of `size` bytes that fit `budget`, at most max_useful. Raises EngineFailed when not even one fits."""
    if budget < size:
        raise EngineFailed(f"engine.cache_bytes = {budget} holds no page of this model; a page needs {size} bytes.")
    return min(budget // size, max_useful)


def default_budget(device: torch.device, root: Path = Path("/")) -> int:
    """default_cache_bytes of the memory that this process may use; on CUDA, of the device's."""
    limit = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else memory_limit(root)
    return default_cache_bytes(limit)
