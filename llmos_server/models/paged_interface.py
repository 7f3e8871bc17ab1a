"""Transformers' attention interface over our pages: the function that its models call in each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from transformers import AttentionInterface

from llmos_server.kernels.base import Attention, HeadLayout, Kernels, LayerCache, PagedBatch, Scoring
from llmos_server.models.attention_sites import AttentionSite

PAGED = "llmos_paged"
"""Has no mask function of its own, so models build no mask."""


class PagedAttention:
    """The attention layers of one model."""

    def __init__(self, sites: Mapping[torch.nn.Module, AttentionSite], kernels: Kernels) -> None:
        self._sites = sites
        kinds = {(site.layout, site.scoring) for site in sites.values()}
        self._kinds: dict[tuple[HeadLayout, Scoring], Attention] = {kind: kernels.attention(*kind) for kind in kinds}

    @contextmanager
    def step(self, batch: PagedBatch, cache: Sequence[LayerCache]) -> Iterator[None]:
        """Within it the interface computes this batch. Raises RuntimeError when a layer was left out."""
        step = _Step(self, batch, cache)
        token = _step.set(step)
        try:
            yield
        finally:
            _step.reset(token)
        if step.num_calls != len(self._sites):
            raise RuntimeError(f"{step.num_calls} of {len(self._sites)} attention layers ran.")

    def site(self, module: torch.nn.Module) -> tuple[AttentionSite, Attention]:
        site = self._sites[module]
        return site, self._kinds[site.layout, site.scoring]


class _Step:
    """One forward pass; its index tensors are made once for all layers of a kind."""

    def __init__(self, attention: PagedAttention, batch: PagedBatch, cache: Sequence[LayerCache]) -> None:
        self.num_calls = 0
        self._attention = attention
        self._batch = batch
        self._cache = cache
        self._plans: dict[tuple[HeadLayout, int | None], Any] = {}

    def attend(self, module: torch.nn.Module, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """q, k, v: [rows, heads, head size]. Returns [rows, heads * value_size]."""
        site, attention = self._attention.site(module)
        self.num_calls += 1
        kind = site.layout, site.window
        if kind not in self._plans:
            self._plans[kind] = attention.plan(self._batch, site.window)
        return attention(q, k, v, self._cache[site.index], self._plans[kind], site.sinks)


_step: ContextVar[_Step] = ContextVar("step")
"""Not an argument, because some architectures don't pass theirs on to the interface."""


def _paged_attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, _mask: None, **_: Any
) -> tuple[torch.Tensor, None]:
    """query, key, value: [1, heads, rows, head size]. Returns [1, rows, heads, head size], and no weights."""
    q, k, v = (heads[0].transpose(0, 1) for heads in (query, key, value))
    out = _step.get().attend(module, q, k, v)
    return out.view(1, q.shape[0], q.shape[1], v.shape[2]), None


AttentionInterface.register(PAGED, _paged_attention)
