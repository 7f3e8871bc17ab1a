"""A checkpoint's matrices for the compiled kernels: packed as the file packs them, floats as they are or rounded."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from llmos_server.errors import UnsupportedModel
from llmos_server.gguf.blocks import Groups
from llmos_server.gguf.types import TYPE_NUMBERS
from llmos_server.kernels.native.huge_pages import Array, HugePages
from llmos_server.kernels.native.library import Library, Repacking
from llmos_server.kernels.native.packing import (
    PackedMatrix,
    PackedStack,
    address,
    pack_floats,
    pack_int8,
    pack_uint,
    unfilled,
)
from llmos_server.models.packed_types import LAYOUTS, rounded_type
from llmos_server.models.quantize import to_int6, to_int8, to_uint4
from llmos_server.models.row_chunks import pack_by_rows
from llmos_server.models.weights import TensorSource, some
from llmos_server.settings import Quantization

ROUNDING = {"Q8_0": to_int8, "Q6_K": to_int6, "Q4_1": to_uint4}
"""Floats to integers as GGUF's types have them."""


class PackedLoader:
    """Reads a source, matrix by matrix."""

    def __init__(
        self, source: TensorSource, library: Library, num_threads: int, quantization: Quantization = "none"
    ) -> None:
        """library: packs what the file holds as integers. num_threads: for floats. quantization: of floats.

        Raises UnsupportedModel where the file holds integers already.
        """
        self._source = source
        self._library = library
        self._memory = HugePages()
        self._num_threads = num_threads
        self._quantization = quantization
        self._rounded: list[tuple[str, float, float]] = []
        packed = [name for name in source.shapes if source.is_packed(name)]
        if quantization != "none" and packed:
            raise UnsupportedModel(
                f'quantization = "{quantization}" rounds floats, and {some(packed)} hold integers already. Remove it '
                "from the model's table below [models.options], or take a file of the same model in F16 or BF16."
            )

    def has(self, name: str) -> bool:
        return name in self._source.shapes

    @property
    def rounding_errors(self) -> dict[str, float]:
        """GGUF's type -> relative error of all matrices that were rounded to it, as root mean squares."""
        sums: dict[str, tuple[float, float]] = {}
        for type_name, error, squares in self._rounded:
            before = sums.get(type_name, (0.0, 0.0))
            sums[type_name] = (before[0] + error, before[1] + squares)
        return {name: math.sqrt(error / squares) if squares else 0.0 for name, (error, squares) in sums.items()}

    def stack(self, *names: str) -> PackedStack:
        """Linear layers with the same inputs, side by side; names without `.weight`."""
        weights = [f"{name}.weight" for name in names]
        biases = [self.vector(f"{name}.bias") if self.has(f"{name}.bias") else None for name in names]
        if all(self._source.is_packed(weight) for weight in weights):
            return PackedStack(tuple(map(self._packed, weights, biases)))
        if self._quantization != "none":
            return PackedStack(tuple(map(self._round, weights, biases)))
        return PackedStack(tuple(map(self._floats, weights, biases)))

    def vector(self, name: str) -> Array:
        """float32 [n]"""
        return np.ascontiguousarray(self._source.read(name).to(torch.float32).numpy())

    def _packed(self, name: str, bias: Array | None) -> PackedMatrix:
        type_name, blocks, order = self._source.stored(name)
        (num_out, num_in), layout = self._source.shapes[name], LAYOUTS[type_name]
        matrix = unfilled(layout.bits, (num_out, num_in), layout.group, layout.has_minima, bias, self._memory.empty)
        to = map(address, (matrix.values, matrix.scales, matrix.minima))
        repacking = Repacking(TYPE_NUMBERS[type_name], num_out, num_in, 0, 0, address(blocks), address(order), *to)
        for rows in self._source.in_parts(name):
            repacking.first, repacking.last = rows.start, rows.stop
            self._library.repack(repacking)
        return matrix

    def _floats(self, name: str, bias: Array | None) -> PackedMatrix:
        weight = self._source.read(name)

        def pack(rows: slice) -> PackedMatrix:
            return pack_floats(weight[rows], None if bias is None else bias[rows])

        return self._by_rows(name, pack)

    def _round(self, name: str, bias: Array | None) -> PackedMatrix:
        weight, type_name = self._source.read(name), rounded_type(name, self._quantization)

        def round_rows(rows: slice) -> PackedMatrix:
            groups, error, squares = ROUNDING[type_name](weight[rows].to(torch.float32).numpy())
            if not math.isfinite(error + squares):
                raise UnsupportedModel(f"{name} holds numbers that are not finite or too large to be quantised.")
            self._rounded.append((type_name, error, squares))
            return pack_groups(type_name, groups, None if bias is None else bias[rows])

        return self._by_rows(name, round_rows)

    def _by_rows(self, name: str, pack: Callable[[slice], PackedMatrix]) -> PackedMatrix:
        num_rows, num_columns = self._source.shapes[name]
        return pack_by_rows((num_rows, num_columns), pack, self._num_threads, self._memory.empty)


def pack_groups(type_name: str, groups: Groups, bias: Array | None) -> PackedMatrix:
    """[rows, columns] of one of GGUF's types. Library.repack gives the same bits."""
    layout = LAYOUTS[type_name]
    if layout.bits == 8:
        return pack_int8(groups.quants, groups.scales, bias)
    quants = (groups.quants + np.int8(layout.offset)).view(np.uint8) if layout.offset else groups.quants
    return pack_uint(quants, groups.scales, groups.minima, bias, layout.bits)
