"""How the compiled kernels lay out keys and values."""

from __future__ import annotations

import torch

from llmos_server.kernels.base import CacheShapes, HeadLayout


class NativePages:
    """kernels.base.PageFormat: float16; a page's keys lie transposed, so that a vector holds 16 keys."""

    cache_dtype = torch.float16

    def padded_rows(self, num_rows: int) -> int:
        return num_rows

    def cache_shapes(self, num_pages: int, layout: HeadLayout) -> CacheShapes:
        pages = (num_pages, layout.num_kv_heads)
        return CacheShapes((*pages, layout.head_dim, layout.page_size), (*pages, layout.page_size, layout.head_dim))
