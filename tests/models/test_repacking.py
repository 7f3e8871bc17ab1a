"""The compiled kernels pack a GGUF's blocks of every type to the bits that numpy makes of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest
from gguf_blocks import HALVES

from llmos_server.errors import KernelsUnavailable
from llmos_server.gguf.blocks import Bytes
from llmos_server.gguf.grouped import GROUPED, take_apart
from llmos_server.gguf.types import READABLE_TYPES, TYPE_NUMBERS
from llmos_server.kernels.native.build import KERNEL_CACHE, find_or_build
from llmos_server.kernels.native.library import Library, Repacking
from llmos_server.kernels.native.packing import PackedMatrix, address, unfilled
from llmos_server.models.packed_types import LAYOUTS
from llmos_server.models.packed_weights import PackedLoader, pack_groups
from llmos_server.models.weights import GGUFSource
from llmos_server.settings import find_home

ROWS, COLUMNS, NUM_HEADS = 72, 512, 4
Q, V = "self_attn.q_proj", "self_attn.v_proj"


@pytest.fixture(params=["avx512vnni", "avx2", "plain"])
def library(request: pytest.FixtureRequest) -> Library:
    try:
        return Library(find_or_build(find_home() / KERNEL_CACHE), 2, request.param)
    except KernelsUnavailable as error:
        pytest.skip(str(error))


def any_blocks(type_name: str, seed: int) -> Bytes:
    """[ROWS, bytes] of all bit patterns; scales are any float16, subnormal and infinite ones too, that is a number."""
    rng, layout = np.random.default_rng(seed), READABLE_TYPES[type_name]
    blocks = rng.integers(0, 256, (ROWS * COLUMNS // layout.block_size, layout.block_bytes), dtype=np.uint8)
    for column in HALVES[type_name]:
        halves = rng.integers(0, 1 << 16, len(blocks), dtype=np.uint16)
        is_none = np.isnan(halves.view(np.float16))
        blocks[:, column : column + 2] = np.where(is_none, halves & 0xFC00, halves).reshape(-1, 1).view(np.uint8)
    return blocks.reshape(ROWS, -1)


def expected(type_name: str, blocks: Bytes, bias: Any = None) -> PackedMatrix:
    with np.errstate(all="ignore"):
        return pack_groups(type_name, take_apart(blocks.reshape(-1), type_name, (len(blocks), COLUMNS)), bias)


def assert_same_bits(packed: PackedMatrix, numpys: PackedMatrix) -> None:
    for field in ("kind", "num_out", "num_in", "group"):
        assert getattr(packed, field) == getattr(numpys, field)
    np.testing.assert_array_equal(packed.values.ravel(), numpys.values.ravel())
    for ours, theirs in ((packed.scales, numpys.scales), (packed.minima, numpys.minima)):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:  # Infinite times 0 is no number, of either sign.
            np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
            np.testing.assert_array_equal(*(np.nan_to_num(a, nan=0).view(np.uint16) for a in (ours, theirs)))


@pytest.mark.parametrize("type_name", GROUPED)
def test_matrices_of_a_file(type_name: str, library: Library, tmp_path: Path) -> None:
    """Llama's q comes in the converter's order of rows. 72 rows leave the last tile half empty."""
    path, blocks = tmp_path / "m.gguf", any_blocks(type_name, seed=1)
    bias = np.arange(ROWS, dtype=np.float32)
    writer = gguf.GGUFWriter(path, "llama")
    for part in "qv":
        writer.add_tensor(f"blk.0.attn_{part}.weight", blocks, raw_dtype=gguf.GGMLQuantizationType[type_name])
    writer.add_tensor("blk.0.attn_v.bias", bias)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    config: Any = SimpleNamespace(num_heads=NUM_HEADS, num_kv_heads=NUM_HEADS)
    stack = PackedLoader(GGUFSource(path, config), library, 1).stack(*(f"model.layers.0.{part}" for part in (Q, V)))
    pairs = blocks.reshape(NUM_HEADS, ROWS // NUM_HEADS // 2, 2, -1)
    assert_same_bits(stack.parts[0], expected(type_name, pairs.swapaxes(1, 2).reshape(blocks.shape)))
    assert_same_bits(stack.parts[1], expected(type_name, blocks))
    np.testing.assert_array_equal(stack.parts[1].bias, [*bias, *np.zeros(8)])


def repack(library: Library, type_name: str, blocks: Bytes, order: Any, parts: list[tuple[int, int]]) -> PackedMatrix:
    layout = LAYOUTS[type_name]
    matrix = unfilled(layout.bits, (ROWS, COLUMNS), layout.group, layout.has_minima, None)
    to = [address(array) for array in (matrix.values, matrix.scales, matrix.minima)]
    for first, last in parts:
        library.repack(
            Repacking(TYPE_NUMBERS[type_name], ROWS, COLUMNS, first, last, address(blocks), address(order), *to)
        )
    return matrix


@pytest.mark.parametrize("type_name", ["Q4_K", "Q6_K"])
def test_in_parts_and_in_any_order(type_name: str, library: Library) -> None:
    blocks = any_blocks(type_name, seed=2)
    order = np.random.default_rng(3).permutation(ROWS).astype(np.int32)
    parts = [(48, ROWS), (0, 16), (16, 48)]
    assert_same_bits(repack(library, type_name, blocks, order, parts), expected(type_name, blocks[order]))


def test_a_type_of_floats_has_no_blocks(library: Library) -> None:
    with pytest.raises(ValueError, match="type 1 "):
        library.repack(Repacking(type=TYPE_NUMBERS["F16"], num_out=16, num_in=32, last=16))
