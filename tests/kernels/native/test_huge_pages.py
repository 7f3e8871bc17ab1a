"""Memory for weights: arrays of any size that don't overlap, and that are given back."""

from __future__ import annotations

import gc
import math
import weakref
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.kernels.native.huge_pages import ALIGNMENT, BLOCK, PAGE, HugePages

sizes = st.one_of(st.integers(1, 5000), st.sampled_from([BLOCK - 1, BLOCK, BLOCK + 1, PAGE]))


@given(st.lists(st.tuples(sizes, st.sampled_from([np.uint8, np.float16, np.uint32])), min_size=1, max_size=12))
def test_arrays_are_aligned_and_lie_apart(wanted: list[tuple[int, type]]) -> None:
    memory = HugePages()
    arrays = [memory.empty((size // np.dtype(kind).itemsize + 1,), kind) for size, kind in wanted]
    spans = sorted((array.ctypes.data, array.ctypes.data + array.nbytes) for array in arrays)
    assert all(start % ALIGNMENT == 0 for start, _ in spans)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_shapes_are_as_numpys_and_can_be_written() -> None:
    array = HugePages().empty((3, 4, 5), np.float32)
    array[:] = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    assert math.isclose(float(array.sum()), 59 * 30)
    assert HugePages().empty((0, 16), np.float16).shape == (0, 16)


def test_a_block_lives_as_long_as_an_array_in_it() -> None:
    memory = HugePages()
    first, second = memory.empty((10,), np.uint8), memory.empty((10,), np.uint8)
    block = weakref.ref(memory._block)
    del memory, first
    gc.collect()
    second[:] = 7
    assert second.sum() == 70
    del second
    gc.collect()
    assert block() is None
