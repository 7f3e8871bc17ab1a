"""Adapters as a faulty engine would serve them. A plain module: conftest.py puts this folder on sys.path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from llmos_server.engine import model_runner
from llmos_server.kernels.base import LowRankUpdate
from llmos_server.models.adapter_files import Updates

Fault = Callable[[Updates], Updates]


def scaled(factor: float) -> Fault:
    return lambda updates: {name: LowRankUpdate(u.down, u.up, u.scale * factor) for name, u in updates.items()}


def without(part: str) -> Fault:
    """All modules whose name has that part: a layer, or a projection of all layers."""
    return lambda updates: {name: update for name, update in updates.items() if part not in name}


def transposed(part: str) -> Fault:
    """A's and B's places changed, which square modules alone allow."""

    def change(name: str, update: LowRankUpdate) -> LowRankUpdate:
        if part not in name:
            return update
        return LowRankUpdate(update.up.T.contiguous(), update.down.T.contiguous(), update.scale)

    return lambda updates: {name: change(name, update) for name, update in updates.items()}


def of_another_layer(updates: Updates) -> Updates:
    first, last = ".layers.0.", ".layers.1."
    return {
        name: updates[name.replace(first, last) if first in name else name.replace(last, first)] for name in updates
    }


def another(updates: Updates) -> Updates:
    """Of the same size: one that was there before."""
    draw = torch.Generator().manual_seed(11)

    def mix(matrix: torch.Tensor) -> torch.Tensor:
        return matrix.flatten()[torch.randperm(matrix.numel(), generator=draw)].view_as(matrix)

    return {name: LowRankUpdate(mix(u.down), mix(u.up), u.scale) for name, u in updates.items()}


FAULTS: dict[str, Fault] = {
    "half its scale": scaled(0.5),
    "another one": another,
    "a layer is missing": without(".layers.1."),
    "down_proj is missing": without("down_proj"),
    "k_proj is missing": without("k_proj"),
    "q_proj is transposed": transposed("q_proj"),
    "the layers are exchanged": of_another_layer,
}


@contextmanager
def served_with(fault: Fault | None) -> Iterator[None]:
    """Engines that are opened meanwhile load adapters so."""
    read = model_runner.read_adapter

    def read_broken(folder: Path) -> Updates:
        return read(folder) if fault is None else fault(read(folder))

    model_runner.read_adapter = read_broken
    try:
        yield
    finally:
        model_runner.read_adapter = read
