"""A checkpoint's matrices for the compiled kernels: packed as the file packs them, or floats as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from llmos_server.kernels.native.packing import (
    Array,
    PackedMatrix,
    PackedStack,
    pack_floats,
    pack_int8,
    pack_uint,
)
from llmos_server.models.packed_types import LAYOUTS
from llmos_server.models.row_chunks import pack_by_rows
from llmos_server.models.weights import PackedTensor, TensorSource


class PackedLoader:
    """Reads a source, matrix by matrix."""

    def __init__(self, source: TensorSource, num_threads: int) -> None:
        self._source = source
        self._num_threads = num_threads

    def has(self, name: str) -> bool:
        return name in self._source.shapes

    def stack(self, names: Sequence[str], bits: int) -> PackedStack:
        """Linear layers with the same inputs, side by side; names without `.weight`.

        bits: of the activations' integers, unless the weights are floats.
        """
        weights = [f"{name}.weight" for name in names]
        biases = [self.vector(f"{name}.bias") if self.has(f"{name}.bias") else None for name in names]
        if all(self._source.is_packed(weight) for weight in weights):
            return PackedStack(tuple(map(self._packed, weights, biases)), bits)
        return PackedStack(tuple(map(self._floats, weights, biases)), bits=0)

    def vector(self, name: str) -> Array:
        """float32 [n]"""
        return np.ascontiguousarray(self._source.read(name).to(torch.float32).numpy())

    def _packed(self, name: str, bias: Array | None) -> PackedMatrix:
        def pack(rows: slice) -> PackedMatrix:
            return _pack(self._source.read_packed(name, rows), None if bias is None else bias[rows])

        return self._by_rows(name, pack)

    def _floats(self, name: str, bias: Array | None) -> PackedMatrix:
        weight = self._source.read(name)

        def pack(rows: slice) -> PackedMatrix:
            return pack_floats(weight[rows], None if bias is None else bias[rows])

        return self._by_rows(name, pack)

    def _by_rows(self, name: str, pack: Callable[[slice], PackedMatrix]) -> PackedMatrix:
        num_rows, num_columns = self._source.shapes[name]
        return pack_by_rows((num_rows, num_columns), pack, self._num_threads)


def _pack(tensor: PackedTensor, bias: Array | None) -> PackedMatrix:
    quants, scales, minima = tensor.groups
    layout = LAYOUTS[tensor.type_name]
    if layout.bits == 8:
        return pack_int8(quants, scales, bias)
    quants = (quants + np.int8(layout.offset)).view(np.uint8) if layout.offset else quants
    return pack_uint(quants, scales, minima, bias, layout.bits)
