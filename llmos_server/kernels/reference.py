"""The `exact` numerics mode: float32 in plain torch, the truth that other backends are measured against.

Bitwise batch-invariant: matrix products run in probed tiles (tiled_linear, tiled_attention), sums run over one row of
fixed width, and the only transcendental function on the way is exp, whose vector and tail paths agree. torch's silu
doesn't have that property (its tails use another exp), so it is written out here.
"""

from __future__ import annotations

import torch

from llmos_server.kernels.base import CacheShapes, HeadLayout, Linear, Scoring
from llmos_server.kernels.fixed_products import COLUMN_MULTIPLE
from llmos_server.kernels.tiled_attention import TiledAttention
from llmos_server.kernels.tiled_linear import ONE_ROW, TILE_ROWS, TiledLinear, cover_rows, probe_tile_rows


class ReferenceKernels:
    """kernels.base.Kernels in plain torch."""

    cache_dtype = torch.float32

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._tile_rows: dict[tuple[int, ...], tuple[int, ...]] = {}

    def padded_rows(self, num_rows: int) -> int:
        while (covered := sum(cover_rows(num_rows, TILE_ROWS))) != num_rows:
            num_rows = covered
        return num_rows

    def linear(self, weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
        """Probes each distinct shape and order in memory once. A width at which no height is exact is filled up to
        whole vectors."""
        tile_rows = self._probed(weight)
        padding = -weight.shape[0] % COLUMN_MULTIPLE
        if tile_rows == ONE_ROW and padding:
            padded = torch.nn.functional.pad(weight, (0, 0, 0, padding))
            return TiledLinear(padded, bias, self._probed(padded), num_out=weight.shape[0])
        return TiledLinear(weight, bias, tile_rows, num_out=weight.shape[0])

    def _probed(self, weight: torch.Tensor) -> tuple[int, ...]:
        kind = (*weight.shape, *weight.stride())
        if kind not in self._tile_rows:
            self._tile_rows[kind] = probe_tile_rows(weight.t())
        return self._tile_rows[kind]

    def attention(self, layout: HeadLayout, scoring: Scoring | None = None) -> TiledAttention:
        return TiledAttention.probed(layout, self._device, scoring)

    def cache_shapes(self, num_pages: int, layout: HeadLayout) -> CacheShapes:
        """[pages, kv_heads, page_size, head size]: a head's part of a page is one run of memory, cheap to gather."""
        page = (num_pages, layout.num_kv_heads, layout.page_size)
        return CacheShapes((*page, layout.head_dim), (*page, layout.value_size))

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        variance = x.pow(2).mean(-1, keepdim=True)
        return x * torch.rsqrt(variance + eps) * weight

    def rotate(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, dim=-1)
        cos, sin = cos[:, None, :], sin[:, None, :]
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)

    def swiglu(self, gate_up: torch.Tensor) -> torch.Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        return gate / gate.neg().exp_().add_(1.0) * up
