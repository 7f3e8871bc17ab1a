"""A checkpoint's matrices for the compiled kernels: packed as the file packs them, or floats as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from llmos_server.kernels.native.packing import (
    Array,
    PackedMatrix,
    PackedStack,
    pack_floats,
    pack_int8,
    pack_uint4,
)
from llmos_server.models.packed_types import LAYOUTS
from llmos_server.models.weights import PackedTensor, TensorSource


class PackedLoader:
    """Reads a source, matrix by matrix."""

    def __init__(self, source: TensorSource) -> None:
        self._source = source

    def has(self, name: str) -> bool:
        return name in self._source.shapes

    def stack(self, names: Sequence[str], terms: int) -> PackedStack:
        """Linear layers with the same inputs, side by side; names without `.weight`.

        terms: int8 terms for the activations, unless the weights are floats.
        """
        tensors = [self._source.read_packed(f"{name}.weight") for name in names]
        biases = [self.vector(f"{name}.bias") if self.has(f"{name}.bias") else None for name in names]
        if any(tensor is None for tensor in tensors):
            floats = [self._source.read(f"{name}.weight") for name in names]
            return PackedStack(tuple(map(pack_floats, floats, biases)), terms=0)
        return PackedStack(
            tuple(_pack(tensor, bias) for tensor, bias in zip(tensors, biases, strict=True) if tensor), terms
        )

    def vector(self, name: str) -> Array:
        """float32 [n]"""
        return np.ascontiguousarray(self._source.read(name).to(torch.float32).numpy())


def _pack(tensor: PackedTensor, bias: Array | None) -> PackedMatrix:
    quants, scales, minima = tensor.groups
    layout = LAYOUTS[tensor.type_name]
    if layout.bits == 8:
        return pack_int8(quants, scales, minima, bias)
    lowest = -layout.offset * scales if minima is None else minima
    quants = (quants + np.int8(layout.offset)).view(np.uint8) if layout.offset else quants
    return pack_uint4(quants, scales, lowest, bias)
