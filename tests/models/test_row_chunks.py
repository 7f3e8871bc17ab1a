"""A load packs matrices some rows at a time, and holds little beside the result."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from llmos_server.contracts import ModelVersion
from llmos_server.gguf.reader import GGUFFile
from llmos_server.kernels.native.build import KERNEL_CACHE, find_or_build
from llmos_server.kernels.native.huge_pages import HAS_HUGE_PAGES
from llmos_server.kernels.native.library import Library
from llmos_server.kernels.native.packing import PackedMatrix, pack_floats, pack_int8, pack_uint
from llmos_server.models.opening import open_packed
from llmos_server.models.row_chunks import CHUNK_WEIGHTS, pack_by_rows
from llmos_server.settings import find_home

ARRAYS = ("values", "scales", "minima", "bias")
MAX_BESIDE = 0.15


@pytest.mark.parametrize("kind", ["int8", "uint4", "floats"])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("num_rows", [1, 16, CHUNK_WEIGHTS // 512 * 3 // 2 + 5, CHUNK_WEIGHTS // 512 * 2])
def test_in_pieces_and_as_a_whole(kind: str, has_bias: bool, num_rows: int) -> None:
    rng = np.random.default_rng(num_rows)
    quants = rng.integers(0, 16, (num_rows, 512), dtype=np.uint8)
    scales, minima = rng.standard_normal((2, num_rows, 16)).astype(np.float32)
    floats, bias = torch.randn(num_rows, 512), rng.standard_normal(num_rows).astype(np.float32) if has_bias else None

    def pack(rows: slice) -> PackedMatrix:
        part = None if bias is None else bias[rows]
        if kind == "floats":
            return pack_floats(floats[rows], part)
        if kind == "uint4":
            return pack_uint(quants[rows], scales[rows], minima[rows], part)
        return pack_int8(quants[rows].view(np.int8), scales[rows], part)

    pieces, whole = pack_by_rows((num_rows, 512), pack, num_threads=3), pack(slice(0, num_rows))
    assert (pieces.kind, pieces.num_out, pieces.num_in, pieces.group) == (
        whole.kind, whole.num_out, whole.num_in, whole.group,
    )  # fmt: skip
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(pieces, name), getattr(whole, name))


def test_what_a_thread_raises_is_raised() -> None:
    def pack(rows: slice) -> Any:
        if rows.start:
            raise ValueError("damaged")
        return pack_floats(torch.zeros(rows.stop, 512), None)

    with pytest.raises(ValueError, match="damaged"):
        pack_by_rows((CHUNK_WEIGHTS // 512 * 3, 512), pack, num_threads=2)


@pytest.mark.real_model
def test_a_load_holds_little_beside_the_weights(smollm2: ModelVersion) -> None:
    library = Library(find_or_build(find_home() / KERNEL_CACHE), 1)
    tracemalloc.start()
    try:
        model = open_packed(Path(smollm2.folder), [Path(path) for path in smollm2.weights], library, 16, {})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    kept = 0 if HAS_HUGE_PAGES else model.num_bytes  # What is mapped isn't traced.
    assert kept < peak < kept + MAX_BESIDE * model.num_bytes


def resident(path: Path) -> int:
    """KiB of mapped files of this name in this process's memory."""
    lines = Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines()
    counted, total = False, 0
    for line in lines:
        if not line.split(maxsplit=1)[0].endswith(":"):
            counted = line.endswith(str(path))
        elif counted and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells what is resident")
def test_what_was_read_leaves_memory(tmp_path: Path) -> None:
    path, values = tmp_path / "numbers.gguf", np.arange(4096 * 1024, dtype=np.float32)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("a", values.reshape(4096, 1024))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with GGUFFile.open(path) as file:
        raw, seen, most = file.raw("a"), [], 0
        for part in file.in_parts("a", 1 << 20):
            seen.append(raw[part].copy())
            most = max(most, resident(path))
        np.testing.assert_array_equal(np.concatenate(seen).view(np.float32), values)
        assert 1024 <= most < 8192  # A fault brings in what is around it.
        assert resident(path) < 4096
        assert raw[-1] == values.view(np.uint8)[-1]  # A view stays valid.
