"""Paged attention in plain torch, bitwise the same for a token in any batch, chunk or cache situation.

All products have one of two fixed shapes per model (narrow and wide query tiles against one key tile), checked
against each other at load (fixed_products). The softmax takes the exact maximum over all key tiles first, then adds
masses and weighted values tile by tile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch

from llmos_server.kernels.attention_plan import AttentionPlan, QueryGroup, TileShape, plan_attention
from llmos_server.kernels.base import HeadLayout, LayerCache, PagedBatch, Scoring
from llmos_server.kernels.fixed_products import Product, probe_products


class TiledAttention:
    """kernels.base.Attention over a cache of [pages, kv_heads, page_size, head size]."""

    def __init__(
        self,
        shape: TileShape,
        device: torch.device,
        product: Product,
        wide_tokens: int,
        scoring: Scoring | None = None,
    ) -> None:
        """product: batched product of matrices; wide_tokens: tokens of a wide query tile, 1 to use narrow ones only."""
        self._shape = shape
        self._layout = shape.layout
        self._device = device
        self._product = product
        self._wide_tokens = wide_tokens
        self._scoring = scoring or Scoring(float(shape.layout.head_dim) ** -0.5)

    @classmethod
    def probed(cls, layout: HeadLayout, device: torch.device, scoring: Scoring | None = None) -> Self:
        """With the fastest products that are exact on this machine."""
        shape = TileShape(layout)
        return cls(shape, device, *probe_products(shape, device), scoring)

    def plan(self, batch: PagedBatch, window: int | None) -> AttentionPlan:
        return plan_attention(self._shape, batch, window, self._wide_tokens, self._device)

    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        cache: LayerCache,
        plan: AttentionPlan,
        sinks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        num_tokens = plan.write_index.numel() // self._layout.num_kv_heads
        for pages, rows in ((cache.keys, k), (cache.values, v)):
            size = rows.shape[-1]
            pages.view(-1, size).index_copy_(0, plan.write_index, rows[:num_tokens].reshape(-1, size))
        scaled = q.reshape(-1, self._layout.head_dim) * self._scoring.scale
        results = [self._attend(scaled, cache, group, sinks) for group in plan.groups]
        joined = results[0] if len(results) == 1 else torch.cat(results)
        return joined.index_select(0, plan.output_index).view(q.shape[0], -1)

    def _attend(
        self, q: torch.Tensor, cache: LayerCache, group: QueryGroup, sinks: torch.Tensor | None
    ) -> torch.Tensor:
        """Returns [query tiles * kv_heads * rows, value_size]."""
        layout, rows, num_keys = self._layout, group.num_rows, self._shape.keys
        queries = q.index_select(0, group.query_index).view(-1, rows, layout.head_dim)
        keys, values = (self._gather(pages, group) for pages in cache)
        scores = self._product(queries, keys.transpose(1, 2)).view(-1, layout.num_kv_heads, rows, num_keys)
        if self._scoring.softcap is not None:
            scores = _softcap(scores, self._scoring.softcap)
        scores.masked_fill_(group.is_hidden, float("-inf"))
        peak = _fold(torch.maximum, scores.amax(-1), group.num_queries)
        sink = None if sinks is None else self._sink_of_rows(sinks, rows)
        if sink is not None:
            peak = torch.maximum(peak, sink)
        start = 0
        for num in group.num_queries:
            scores[start : start + num] -= peak[:num, :, :, None]
            start += num
        weights = scores.exp_()
        mass = _fold(torch.add, weights.sum(-1), group.num_queries)
        if sink is not None:
            mass += (sink - peak).exp_()
        parts = self._product(weights.view(-1, rows, num_keys), values)
        total = _fold(torch.add, parts.view(-1, layout.num_kv_heads, rows, layout.value_size), group.num_queries)
        return (total / mass[..., None]).view(-1, layout.value_size)

    def _gather(self, pages: torch.Tensor, group: QueryGroup) -> torch.Tensor:
        """[items * kv_heads, keys, head size], copied out of the pages."""
        size = pages.shape[-1]
        flat = pages.view(-1, self._layout.page_size * size)
        return flat.index_select(0, group.page_index).view(-1, self._shape.keys, size)

    def _sink_of_rows(self, sinks: torch.Tensor, rows: int) -> torch.Tensor:
        """[kv_heads, rows]. A tile's rows are token after token, each with its heads; padding's is unused."""
        group_size = self._layout.group_size
        heads = torch.arange(rows, device=sinks.device) % group_size
        return sinks.view(-1, group_size)[:, heads]


def _softcap(scores: torch.Tensor, cap: float) -> torch.Tensor:
    """cap * tanh(scores / cap). By exp, whose bits don't depend on where in a tensor a number stands."""
    return scores.mul_(2.0 / cap).exp_().add_(1.0).reciprocal_().mul_(-2.0 * cap).add_(cap)


def _fold(combine: Callable[..., torch.Tensor], parts: torch.Tensor, num_queries: list[int]) -> torch.Tensor:
    """Combine the parts of each query tile in order of key tile; parts: [items, ...] -> [query tiles, ...]."""
    total = parts[: num_queries[0]].clone()
    start = num_queries[0]
    for num in num_queries[1:]:
        combine(total[:num], parts[start : start + num], out=total[:num])
        start += num
    return total
