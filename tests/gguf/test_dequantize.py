"""Every readable type against the `gguf` package, bit for bit."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf_blocks import HALVES, random_blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_server.errors import UnsupportedModel
from llmos_server.gguf.dequantize import CHUNK_ELEMENTS, FLOATS, dequantize
from llmos_server.gguf.grouped import GROUPED
from llmos_server.gguf.types import READABLE_TYPES

EDGE_BYTES = (0x00, 0x01, 0x0F, 0x10, 0x7F, 0x80, 0xF0, 0xFF)
EDGE_HALVES = (0x0000, 0x8000, 0x0001, 0x03FF, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00)
"""Zeros, subnormals, the largest, infinities, not a number."""


def assert_equal_bits(raw: np.ndarray, type_name: str) -> None:
    """raw: uint8 [rows, bytes]."""
    layout = READABLE_TYPES[type_name]
    shape = (len(raw), raw.shape[1] // layout.block_bytes * layout.block_size)
    stored = raw.view({"F32": np.float32, "F16": np.float16}.get(type_name, np.uint8))
    with np.errstate(all="ignore"):
        ours = dequantize(raw.ravel(), type_name, shape)
        theirs = gguf.quants.dequantize(stored, gguf.GGMLQuantizationType[type_name])
    assert ours.dtype == np.float32
    # NaNs compare by being NaN: their payload is not specified.
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    assert np.array_equal(ours[~np.isnan(ours)].view(np.uint32), theirs[~np.isnan(theirs)].view(np.uint32))


def test_every_readable_type_has_its_converter() -> None:
    assert set(FLOATS) | set(GROUPED) == set(READABLE_TYPES)
    assert set(HALVES) == {name for name, layout in READABLE_TYPES.items() if layout.block_size > 1}


@pytest.mark.parametrize("type_name", READABLE_TYPES)
@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 5), blocks=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_any_bytes(type_name: str, rows: int, blocks: int, seed: int) -> None:
    shape = (rows, blocks * READABLE_TYPES[type_name].block_bytes)
    assert_equal_bits(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8), type_name)


@pytest.mark.parametrize("type_name", HALVES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_edge_blocks(type_name: str, data: st.DataObject) -> None:
    """The same byte almost everywhere, under scales at the ends of float16's range."""
    block = np.full(READABLE_TYPES[type_name].block_bytes, data.draw(st.sampled_from(EDGE_BYTES)), np.uint8)
    for place in data.draw(st.lists(st.integers(0, len(block) - 1), max_size=4)):
        block[place] = data.draw(st.integers(0, 255))
    for column in HALVES[type_name]:
        half = data.draw(st.sampled_from(EDGE_HALVES))
        block[column : column + 2] = np.frombuffer(half.to_bytes(2, "little"), np.uint8)
    assert_equal_bits(block[None], type_name)


@pytest.mark.parametrize("type_name", HALVES)
def test_large_tensors_are_converted_in_chunks_without_seams(type_name: str) -> None:
    rng = np.random.default_rng(1)
    columns = 3 * READABLE_TYPES[type_name].block_size
    rows = CHUNK_ELEMENTS // columns + 5
    assert_equal_bits(random_blocks(type_name, rows, columns, rng), type_name)


def test_sizes_that_disagree_are_a_programming_error() -> None:
    with pytest.raises(ValueError, match="don't make a tensor"):
        dequantize(np.zeros(10, np.uint8), "Q8_0", (32,))
    with pytest.raises(UnsupportedModel, match=r"IQ2_XXS.*IQ4_XS"):
        dequantize(np.zeros(66, np.uint8), "IQ2_XXS", (256,))
