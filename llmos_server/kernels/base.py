"""The interface between the decoder and whatever computes it: one backend a module.

Rows are tokens. A batch is packed and ragged: the rows of all sequences follow each other without gaps, padding rows
(if the backend wants any) come last. Every backend on a CPU is batch-invariant: a row's result is bitwise the same in
any batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch


class LowRankUpdate(NamedTuple):
    """What an adapter adds to a linear layer: scale * up @ down @ x."""

    down: torch.Tensor
    """float32 [rank, in]"""
    up: torch.Tensor
    """float32 [out, rank]"""
    scale: float


class Span(NamedTuple):
    """A run of rows that belong to one sequence, at consecutive positions."""

    row: int
    """Where the run starts in the packed batch."""
    start: int
    """Position of its first token in the sequence."""
    num_tokens: int
    pages: Sequence[int]
    """The sequence's pages, from position 0 on; they cover start + num_tokens positions or more."""
    adapter: Any = None
    """What the model's load_adapter() returned; None: the model as it is."""


@dataclass(frozen=True)
class PagedBatch:
    """What one forward pass computes. Attention of a row covers its sequence's positions up to the row's own."""

    spans: tuple[Span, ...]
    num_rows: int
    """Rows of the packed batch, padding included."""


@dataclass(frozen=True)
class HeadLayout:
    """The heads of one attention layer and the pages that it reads."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    """Of queries and keys."""
    page_size: int
    value_dim: int | None = None
    """Where the heads of the values have another size: None is head_dim."""

    @property
    def value_size(self) -> int:
        return self.head_dim if self.value_dim is None else self.value_dim

    @property
    def group_size(self) -> int:
        """Query heads that share one KV head."""
        return self.num_heads // self.num_kv_heads


@dataclass(frozen=True)
class Scoring:
    """How the product of a query and a key becomes a score."""

    scale: float
    softcap: float | None = None
    """softcap * tanh(score / softcap), before the mask."""


class CacheShapes(NamedTuple):
    """Of one layer's keys and values; pages are the first dimension."""

    keys: tuple[int, ...]
    values: tuple[int, ...]


class PageFormat(Protocol):
    """How a backend lays out what crosses a step: the rows of a batch, and pages."""

    cache_dtype: torch.dtype

    def padded_rows(self, num_rows: int) -> int:
        """The batch size, at least num_rows, that runs without internal padding."""
        ...

    def cache_shapes(self, num_pages: int, layout: HeadLayout) -> CacheShapes: ...


class LayerCache(NamedTuple):
    """Keys and values of one layer, of the shapes that the backend's `cache_shapes` gives."""

    keys: torch.Tensor
    values: torch.Tensor


class Linear(Protocol):
    """x @ weight.T + bias, prepared once."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x: float32 [rows, in]. Returns [rows, out]."""
        ...


class Attention(Protocol):
    """Paged attention over one head layout, shared by all layers that have it."""

    def plan(self, batch: PagedBatch, window: int | None) -> Any:
        """Index tensors for one step, shared by all layers with this window. Opaque to the caller."""
        ...

    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        cache: LayerCache,
        plan: Any,
        sinks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Write k and v into the pages, then attend.

        q: [rows, heads, head_dim]; k: [rows, kv_heads, head_dim], both after RoPE; v: [rows, kv_heads, value_size].
        sinks: [heads], the score of a key that every token sees and that has no value. Returns [rows, heads *
        value_size].
        """
        ...


class Kernels(PageFormat, Protocol):
    """One backend on one device, an operation at a time."""

    def linear(self, weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
        """Prepare a weight [out, in] for repeated use; the operator is fixed here."""
        ...

    def attention(self, layout: HeadLayout, scoring: Scoring | None = None) -> Attention:
        """scoring: None scales by 1 / sqrt(head_dim), no more."""
        ...

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """Over the last dimension."""
        ...

    def rotate(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """RoPE on halves. x: [rows, heads, head_dim]; cos, sin: [rows, head_dim / 2]."""
        ...

    def swiglu(self, gate_up: torch.Tensor) -> torch.Tensor:
        """silu(gate) * up. gate_up: [rows, 2 * n], the gate first. Returns [rows, n]."""
        ...
