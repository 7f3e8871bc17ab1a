"""How the compiled kernels lay out keys and values: src/cache.h."""

from __future__ import annotations

import torch

from llmos_server.kernels.base import CacheShapes, HeadLayout
from llmos_server.kernels.native.shapes import cached_row_bytes

CACHE_KINDS = {torch.float16: 0, torch.int8: 1}
"""abi.h: CacheKind."""


class NativePages:
    """kernels.base.PageFormat: float16, or int8 with its scales behind it, all within the page.

    A page's keys lie transposed, so that a vector holds 16 keys.
    """

    def __init__(self, cache_dtype: torch.dtype = torch.float16) -> None:
        """cache_dtype: one of CACHE_KINDS."""
        self.cache_dtype = cache_dtype

    def padded_rows(self, num_rows: int) -> int:
        return num_rows

    def cache_shapes(self, num_pages: int, layout: HeadLayout) -> CacheShapes:
        pages = (num_pages, layout.num_kv_heads)
        if self.cache_dtype == torch.int8:
            shape = (*pages, layout.page_size * cached_row_bytes(layout.head_dim, is_int8=True))
            return CacheShapes(shape, shape)
        return CacheShapes((*pages, layout.head_dim, layout.page_size), (*pages, layout.page_size, layout.head_dim))
