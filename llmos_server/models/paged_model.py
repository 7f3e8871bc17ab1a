"""What the engine asks of a network, whoever computes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from llmos_server.kernels.base import HeadLayout, LayerCache, PagedBatch
from llmos_server.models.adapter_files import Updates


class LoadedAdapter(Protocol):
    """One adapter, prepared for one model: what spans of a batch name."""

    @property
    def num_bytes(self) -> int:
        """Of its matrices in memory."""
        ...


class PagedModel(Protocol):
    """A causal language model that keeps keys and values in pages that are not its own.

    Between calls it holds weights and tables, no state of a sequence: batch and cache are arguments.
    """

    architecture: str
    """As config.json calls it: its model_type."""
    vocab_size: int
    hidden_size: int
    """Width of the rows that `forward` returns."""
    context_length: int
    """Longest sequence that is computed rightly, in tokens."""
    is_batch_invariant: bool
    """Whether a row of a sequence has the same bits in any batch and in any chunks, on a CPU."""
    layouts: tuple[HeadLayout, ...]
    """One for each layer that has keys and values."""

    def prepare(self, cache: Sequence[LayerCache], max_positions: int) -> None:
        """Call once, before the first forward; may write into any page.

        max_positions: longest sequence that will be computed, in tokens. Raises UnsupportedModel when what the model
        computes over pages is not what it should be.
        """
        ...

    def load_adapter(self, updates: Updates) -> LoadedAdapter:
        """For `adapter` of spans. In any thread. Raises UnsupportedModel for a module that can't be changed here."""
        ...

    def forward(
        self, token_ids: torch.Tensor, positions: torch.Tensor, batch: PagedBatch, cache: Sequence[LayerCache]
    ) -> torch.Tensor:
        """token_ids, positions: int64 [rows]. Writes keys and values. Returns hidden states [rows, hidden_size]."""
        ...

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """hidden: [n, hidden_size], rows of what `forward` returned. Returns [n, vocab]: keep n small."""
        ...
