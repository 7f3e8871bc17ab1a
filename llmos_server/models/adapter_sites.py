"""The linear layers of a Transformers model that adapters may change, and what adapters add to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from llmos_server.kernels.base import Kernels, Linear, PagedBatch
from llmos_server.models.adapted_products import rows_by_adapter
from llmos_server.models.adapter_files import Updates, refuse_rest

Forward = Callable[[torch.Tensor], torch.Tensor]


class SiteAdapter:
    """What models.paged_model.PagedModel.load_adapter returns for Transformers' code."""

    def __init__(self, updates: Updates, kernels: Kernels, device: torch.device) -> None:
        self.num_bytes = sum(update.down.nbytes + update.up.nbytes for update in updates.values())
        self.pairs: dict[str, tuple[Linear, Linear]] = {
            name: (kernels.linear(down.to(device), None), kernels.linear((up * scale).to(device), None))
            for name, (down, up, scale) in updates.items()
        }


class AdapterSites:
    """Stands around the products of a model. Which of them get each row of a batch once is seen at the first steps."""

    def __init__(self, model: PreTrainedModel, kernels: Kernels) -> None:
        """Call it when the products have been replaced by ours."""
        self._kernels = kernels
        self._architecture = str(model.config.model_type)
        self._num_rows = 0
        self._adapted: dict[SiteAdapter, torch.Tensor] = {}
        self._whole: set[str] = set()
        self._partial: set[str] = set()
        """Modules that were called with all rows of a batch, and those that once were called otherwise."""
        for name, module in model.named_modules():
            if type(module) in (torch.nn.Linear, Conv1D):
                module.forward = self._around(name, module.forward)

    def load(self, updates: Updates, device: torch.device) -> SiteAdapter:
        """Raises UnsupportedModel for a module that isn't there, or doesn't compute all rows together."""
        refuse_rest(updates, self._whole - self._partial, self._architecture)
        return SiteAdapter(updates, self._kernels, device)

    @contextmanager
    def step(self, batch: PagedBatch, device: torch.device) -> Iterator[None]:
        """Within it, rows are those of the batch."""
        self._num_rows, self._adapted = batch.num_rows, rows_by_adapter(batch.spans, device)
        try:
            yield
        finally:
            self._num_rows, self._adapted = 0, {}

    def _around(self, name: str, inner: Any) -> Forward:
        def forward(x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = inner(x)
            if self._num_rows:
                is_whole = x.numel() == self._num_rows * x.shape[-1]
                (self._whole if is_whole else self._partial).add(name)
            for adapter, rows in self._adapted.items():
                if (pair := adapter.pairs.get(name)) is not None:
                    self._add(pair, x, rows, out)
            return out

        return forward

    def _add(self, pair: tuple[Linear, Linear], x: torch.Tensor, rows: torch.Tensor, out: torch.Tensor) -> None:
        down, up = pair
        flat = out.view(-1, out.shape[-1])
        flat[rows] += up(down(x.reshape(-1, x.shape[-1])[rows]))
