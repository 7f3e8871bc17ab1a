"""The tensors behind the pages, and how many pages fit a memory budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from llmos_server.engine.memory import default_cache_bytes, memory_limit
from llmos_server.errors import EngineFailed
from llmos_server.kernels.base import HeadLayout, LayerCache, PageFormat


class KVCache:
    """Keys and values of every layer. Page ids run from 0 to num_pages - 1; a page has its part in each layer.

    On a CPU the operating system commits the memory as pages are first written: an idle pool costs next to nothing.
    """

    def __init__(self, pages: PageFormat, layouts: Sequence[HeadLayout], num_pages: int, device: torch.device) -> None:
        """layouts: one a layer."""
        self.num_pages = num_pages
        self._untouched = set(range(num_pages))
        dtype = pages.cache_dtype
        self.layers = [
            LayerCache(_zeros(shape.keys, dtype, device), _zeros(shape.values, dtype, device))
            for shape in (pages.cache_shapes(num_pages, layout) for layout in layouts)
        ]

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


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """numpy's zeros come uncommitted from the operating system, torch's are written at once."""
    if device.type == "cpu":
        return torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, dtype=np.uint8)).view(dtype).view(shape)
    return torch.zeros(shape, dtype=dtype, device=device)


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
