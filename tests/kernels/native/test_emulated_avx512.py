"""The AVX-512 code on any x86 machine, its intrinsics emulated: it gives bit for bit what AVX2's gives."""

from __future__ import annotations

import ctypes
import itertools
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llmos_server.errors import KernelsUnavailable
from llmos_server.kernels.base import HeadLayout, LayerCache
from llmos_server.kernels.native.build import FLAGS, KERNEL_CACHE, SOURCES, find_compiler, find_or_build
from llmos_server.kernels.native.library import Batch, Decoder, Layer, Library, Repacking
from llmos_server.kernels.native.packing import (
    PackedMatrix,
    PackedStack,
    address,
    pack_floats,
    pack_int8,
    pack_uint,
    unfilled,
)
from llmos_server.kernels.native.pages import CACHE_KINDS, NativePages
from llmos_server.settings import find_home

NUM_OUT, NUM_IN = 50, 96
STUBS = """#include "backend.h"
const llmos::Backend llmos::backend_avx2{"none"}, llmos::backend_plain{"none"};
"""
"""For the linker: the emulated library has one backend."""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> list[Library]:
    if platform.machine() != "x86_64":
        pytest.skip("x86 only")
    try:
        compiler = find_compiler()
    except KernelsUnavailable as error:
        pytest.skip(str(error))
    if "avx2" not in Path("/proc/cpuinfo").read_text(encoding="ascii"):
        pytest.skip("this processor has no AVX2")
    folder = tmp_path_factory.mktemp("emulated")
    stubs = folder / "stubs.cpp"
    stubs.write_text(STUBS, encoding="ascii")
    emulated = ("-O0", "-mfma", f"-I{Path(__file__).parent / 'emulated'}")
    units: dict[Path, tuple[str, ...]] = {
        SOURCES / "team.cpp": (), SOURCES / "library.cpp": ("-D__builtin_cpu_supports(x)=1",), stubs: (f"-I{SOURCES}",),
        SOURCES / "backend_avx512vnni.cpp": emulated,
    }  # fmt: skip
    for unit, flags in units.items():
        command = [compiler, *FLAGS, *flags, "-c", str(unit), "-o", str(folder / f"{unit.stem}.o")]
        subprocess.run(command, check=True)
    objects = [str(folder / f"{unit.stem}.o") for unit in units]
    subprocess.run([compiler, "-shared", "-pthread", *objects, "-o", str(folder / "kernels.so")], check=True)
    real = Library(find_or_build(find_home() / KERNEL_CACHE), 2, "avx2")
    return [real, Library(folder / "kernels.so", 2, "avx512vnni")]


def matrices() -> dict[str, PackedMatrix]:
    rng = np.random.default_rng(1)
    quants = rng.integers(-128, 128, (NUM_OUT, NUM_IN)).astype(np.int8)
    scales = {group: rng.random((NUM_OUT, NUM_IN // group)) * 0.02 for group in (16, 32)}
    bias = rng.standard_normal(NUM_OUT)
    weight = torch.from_numpy(rng.standard_normal((NUM_OUT, NUM_IN)).astype(np.float32))
    return {
        "uint4": pack_uint((quants & 15).view(np.uint8), scales[32], -8 * scales[32], bias),
        "uint4 without minima": pack_uint((quants & 15).view(np.uint8), scales[32], None, bias),
        "uint4 by 16": pack_uint((quants & 15).view(np.uint8), scales[16], -scales[16], None),
        "uint4 by 16 without minima": pack_uint((quants & 15).view(np.uint8), scales[16], None, None),
        "uint5": pack_uint((quants & 31).view(np.uint8), scales[32], -scales[32], bias, 5),
        "uint5 without minima": pack_uint((quants & 31).view(np.uint8), scales[32], None, None, 5),
        "uint6": pack_uint((quants & 63).view(np.uint8), scales[16], None, bias, 6),
        "int8": pack_int8(quants, scales[32], bias),
        "int8 by 16": pack_int8(quants, scales[16], None),
        "float32": pack_floats(weight, bias),
        "bfloat16": pack_floats(weight.bfloat16(), None),
        "float16": pack_floats(weight.half(), None),
    }


def test_products_norms_and_rows(libraries: list[Library]) -> None:
    rng = np.random.default_rng(2)
    norm = rng.standard_normal(NUM_IN).astype(np.float32)
    ids = np.array([0, 17, NUM_OUT - 1])
    for (name, matrix), num_rows in itertools.product(matrices().items(), (1, 3, 9, 131)):
        x = (rng.standard_normal((num_rows, NUM_IN)) * 3).astype(np.float32)
        for bits in (8, 16) if "int" in name else (0,):
            stack = PackedStack((matrix, matrix))
            results = []
            for library in libraries:
                out, rows = np.zeros((num_rows, 2 * NUM_OUT), np.float32), np.zeros((len(ids), NUM_IN), np.float32)
                library.project(stack.struct(bits), address(norm), 1e-5, address(x), num_rows, address(out))
                library.gather(matrix.struct, address(ids), len(ids), address(rows))
                results.append((out, rows))
            assert all(np.array_equal(*pair) for pair in zip(*results, strict=True)), (name, bits, num_rows)
            assert np.isfinite(results[0][0]).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.int8])
def test_layers(libraries: list[Library], dtype: torch.dtype) -> None:
    """A prompt over two parts, in two steps, then a decode: hidden states and pages."""
    layout = HeadLayout(num_heads=4, num_kv_heads=2, head_dim=48, page_size=16)
    rng = np.random.default_rng(3)
    sizes = {"qkv": (384, 32), "out": (32, 192), "gate_up": (128, 32), "down": (32, 64)}
    weights = [rng.standard_normal(shape).astype(np.float32) / 6 for shape in sizes.values()]
    stacks = [PackedStack((pack_floats(torch.from_numpy(weight), None),)) for weight in weights]
    norm, tables = np.ones(32, np.float32), rng.standard_normal((2, 400, 24)).astype(np.float32)
    rows, table = rng.standard_normal((300, 32)).astype(np.float32), np.arange(19, dtype=np.int32)
    results = []
    for library in libraries:
        cache = LayerCache(*(torch.zeros(shape, dtype=dtype) for shape in NativePages(dtype).cache_shapes(20, layout)))
        layer = Layer(
            *(stack.struct(16) for stack in stacks),
            *[address(norm)] * 2,
            None,
            None,
            *map(torch.Tensor.data_ptr, cache),
        )
        decoder = Decoder(
            32, 64, 4, 2, 48, 16, CACHE_KINDS[dtype], 1e-5, 48**-0.5, *map(address, tables), ctypes.pointer(layer)
        )
        x = rows.copy()
        for start, end in ((0, 130), (130, 299), (299, 300)):
            spans = np.array([[0, start, end - start, 0]], np.int32)
            library.forward(decoder, 0, 1, Batch(end - start, 1, address(spans), address(table)), address(x[start:end]))
        assert np.isfinite(x).all()
        results.append((torch.from_numpy(x), *cache))
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
    assert all(pages.any() for pages in results[0][1:])


def test_draws(libraries: list[Library]) -> None:
    scores = torch.randn(5000, generator=torch.Generator().manual_seed(3)) * 3
    tokens = [
        [library.draw(scores.data_ptr(), len(scores), 0.8, noise / 97) for noise in range(97)] for library in libraries
    ]
    assert tokens[0] == tokens[1]


@pytest.mark.parametrize(
    ("block_type", "bits", "group", "has_minima", "block_bytes", "halves"),
    [
        (2, 4, 32, False, 18, (0,)),
        (8, 8, 32, False, 34, (0,)),
        (13, 5, 32, True, 176, (0, 2)),
        (14, 6, 16, False, 210, (208,)),
    ],
    ids=["Q4_0", "Q8_0", "Q5_K", "Q6_K"],
)
def test_repacking(
    libraries: list[Library], block_type: int, bits: int, group: int, has_minima: bool, block_bytes: int, halves: Any
) -> None:
    num_rows, num_columns = 50, 512
    size = 32 if block_bytes < 84 else 256
    blocks = np.random.default_rng(4).integers(0, 256, (num_rows * num_columns // size, block_bytes), dtype=np.uint8)
    blocks[:, [half + 1 for half in halves]] &= 0x3F  # Finite.
    packed = []
    for library in libraries:
        matrix = unfilled(bits, (num_rows, num_columns), group, has_minima, None)
        to = map(address, (matrix.values, matrix.scales, matrix.minima))
        library.repack(Repacking(block_type, num_rows, num_columns, 0, num_rows, address(blocks), None, *to))
        packed.append([array.tobytes() for array in (matrix.values, matrix.scales, matrix.minima) if array is not None])
    assert packed[0] == packed[1]
