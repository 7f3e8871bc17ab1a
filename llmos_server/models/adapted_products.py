"""Adapters of the own decoder in plain torch: which rows have which, and what is added to their products."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch

from llmos_server.kernels.base import Kernels, Linear, Span
from llmos_server.models.adapter_files import Updates, refuse_rest
from llmos_server.models.config import ModelConfig
from llmos_server.models.names import PRODUCT_PARTS, expected_shapes, layer_prefix


class _Addition(NamedTuple):
    """To some columns of a product's outputs."""

    columns: slice
    down: Linear
    up: Linear


class ExactAdapter:
    """What models.paged_model.PagedModel.load_adapter returns for the decoder in plain torch."""

    def __init__(self, updates: Updates, config: ModelConfig, kernels: Kernels) -> None:
        """Raises UnsupportedModel for a module that the decoder doesn't have."""
        shapes = expected_shapes(config)
        modules = part_names(config.num_layers)
        refuse_rest(updates, {name for layer in modules for parts in layer.values() for name in parts}, config.family)
        self.num_bytes = sum(update.down.nbytes + update.up.nbytes for update in updates.values())
        self._layers: list[dict[str, list[_Addition]]] = []
        for layer in modules:
            additions: dict[str, list[_Addition]] = {product: [] for product in layer}
            for product, parts in layer.items():
                column = 0
                for name in parts:
                    num_out = shapes[f"{name}.weight"][0]
                    if (update := updates.get(name)) is not None:
                        up = kernels.linear(update.up * update.scale, None)
                        columns = slice(column, column + num_out)
                        additions[product].append(_Addition(columns, kernels.linear(update.down, None), up))
                    column += num_out
            self._layers.append(additions)

    def add(self, layer: int, product: str, x: torch.Tensor, rows: torch.Tensor, out: torch.Tensor) -> None:
        """To out [all rows, outputs], at `rows`. x: [all rows, in]."""
        for columns, down, up in self._layers[layer][product]:
            out[rows, columns] += up(down(x[rows]))


class Adapted:
    """The rows of a batch that have adapters, and what these add."""

    def __init__(self, spans: Iterable[Span], device: torch.device) -> None:
        self._rows: dict[ExactAdapter, torch.Tensor] = rows_by_adapter(spans, device)

    def add(self, layer: int, product: str, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """out, changed in place."""
        for adapter, rows in self._rows.items():
            adapter.add(layer, product, x, rows, out)
        return out


def rows_by_adapter(spans: Iterable[Span], device: torch.device) -> dict[Any, torch.Tensor]:
    """Of each adapter that a span has: int64, the places of its rows in the batch."""
    rows: dict[Any, list[int]] = {}
    for span in spans:
        if span.adapter is not None:
            rows.setdefault(span.adapter, []).extend(range(span.row, span.row + span.num_tokens))
    return {adapter: torch.tensor(places, device=device) for adapter, places in rows.items()}


NOT_ADAPTED = Adapted((), torch.device("cpu"))


def part_names(num_layers: int) -> list[Mapping[str, list[str]]]:
    """Of each layer: product -> names of the linear layers that stand side by side in it."""
    return [
        {product: [layer_prefix(index) + part for part in parts] for product, parts in PRODUCT_PARTS.items()}
        for index in range(num_layers)
    ]
