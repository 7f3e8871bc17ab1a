"""How large the pool is, and copies of pages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from llmos_server.engine.kv_cache import (
    KVCache,
    default_budget,
    num_pages_for,
    page_bytes,
)
from llmos_server.engine.memory import MAX_DEFAULT_CACHE_BYTES, available_memory, default_budget_bytes, memory_limit
from llmos_server.errors import EngineFailed
from llmos_server.kernels.base import HeadLayout
from llmos_server.kernels.native.pages import NativePages
from llmos_server.kernels.reference import ReferenceKernels
from llmos_server.process_memory import rss_of

CPU = torch.device("cpu")
KERNELS = ReferenceKernels(CPU)
LAYOUTS = [
    HeadLayout(num_heads=4, num_kv_heads=2, head_dim=8, page_size=16),
    HeadLayout(num_heads=4, num_kv_heads=4, head_dim=12, page_size=16, value_dim=6),
]
MIB = 2**20


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_pages_are_copied_whole_and_only_those() -> None:
    cache = KVCache(KERNELS, LAYOUTS, num_pages=6, device=CPU)
    tensors = [tensor for layer in cache.layers for tensor in layer]
    assert all(tensor.shape[0] == 6 and not tensor.any() for tensor in tensors)
    for tensor in tensors:
        tensor.copy_(torch.randn(tensor.shape))
    before = [tensor.clone() for tensor in tensors]
    cache.copy_pages([(0, 4), (0, 5), (2, 3)])
    cache.copy_pages([])
    for old, new in zip(before, tensors, strict=True):
        assert torch.equal(new, old[[0, 1, 2, 2, 0, 0]])


def test_pages_are_cleared_whenever_they_held_something() -> None:
    cache = KVCache(KERNELS, LAYOUTS, num_pages=4, device=CPU)
    tensors = [tensor for layer in cache.layers for tensor in layer]
    cache.clear_pages([0, 1])
    for tensor in tensors:
        tensor[:2] = 1.0
    cache.copy_pages([(0, 2)])
    cache.clear_pages([0, 2, 3])
    for tensor in tensors:
        assert (tensor[1] == 1).all()
        assert not tensor[[0, 2, 3]].any()


def test_memory_of_released_pages_is_the_systems() -> None:
    layouts = [HeadLayout(num_heads=4, num_kv_heads=4, head_dim=size, page_size=16) for size in (63, 64)]
    cache = KVCache(KERNELS, layouts, num_pages=1000, device=CPU)
    tensors = [tensor for layer in cache.layers for tensor in layer]
    cache.clear_pages(range(1000))
    for tensor in tensors:
        tensor.fill_(1.0)
    before = rss_of(os.getpid()) or 0
    cache.release_pages(range(500, 1000))
    cache.release_pages([3, 5, 6])
    freed = before - (rss_of(os.getpid()) or 0)
    assert 0.9 < freed / (500 * page_bytes(KERNELS, layouts)) < 1.1
    released = torch.tensor([3, 5, 6, *range(500, 1000)])
    for tensor in tensors:
        assert not tensor[released].any()
        assert tensor.sum() == 497 * tensor[0].numel()
    cache.copy_pages([(0, 999)])
    cache.clear_pages([3])
    assert all(tensor[999].all() and not tensor[3].any() for tensor in tensors)


def test_pages_in_int8_hold_their_scales() -> None:
    pages = NativePages(torch.int8)
    layouts = [HeadLayout(num_heads=4, num_kv_heads=2, head_dim=size, page_size=16) for size in (16, 64, 80)]
    cache = KVCache(pages, layouts, num_pages=4, device=CPU)
    tensors = [tensor for layer in cache.layers for tensor in layer]
    assert page_bytes(pages, layouts) == 2 * 2 * 16 * ((16 + 2) + (64 + 4) + (80 + 6))
    assert page_bytes(pages, layouts) == sum(tensor[0].numel() * tensor.itemsize for tensor in tensors)
    for tensor in tensors:
        tensor.copy_(torch.randint(-128, 128, tensor.shape))
    before = [tensor.clone() for tensor in tensors]
    cache.copy_pages([(0, 2)])
    cache.clear_pages([1])  # Handed out for the first time: as the operating system gave it.
    cache.clear_pages([1])
    for old, new in zip(before, tensors, strict=True):
        old[1] = 0
        assert torch.equal(new, old[[0, 1, 0, 3]])


def test_pages_that_fit() -> None:
    size = page_bytes(KERNELS, LAYOUTS)
    assert size == 4 * 16 * (2 * (8 + 8) + 4 * (12 + 6))
    assert size == sum(t.numel() * 4 for layer in KVCache(KERNELS, LAYOUTS, 1, CPU).layers for t in layer)
    assert num_pages_for(10 * size + 1, size, max_useful=1000) == 10
    assert num_pages_for(10 * size, size, max_useful=7) == 7
    with pytest.raises(EngineFailed, match=f"a page needs {size} bytes"):
        num_pages_for(size - 1, size, max_useful=1)


def test_limit_of_cgroup_2_is_the_tightest_above_the_process(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/a/b\n")
    write(tmp_path / "sys/fs/cgroup/a/memory.max", f"{300 * MIB}\n")
    write(tmp_path / "sys/fs/cgroup/a/b/memory.max", "max\n")
    assert memory_limit(tmp_path) == 300 * MIB
    write(tmp_path / "sys/fs/cgroup/memory.max", f"{200 * MIB}\n")
    assert memory_limit(tmp_path) == 200 * MIB
    assert default_budget(CPU, tmp_path) == 50 * MIB


def test_limit_of_cgroup_1(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x\n")
    write(tmp_path / "sys/fs/cgroup/memory/x/memory.limit_in_bytes", f"{100 * MIB}\n")
    write(tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert memory_limit(tmp_path) == 100 * MIB


def test_without_cgroups_the_machines_memory_counts(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) >= memory_limit() > 0
    assert 0 < default_budget(CPU, tmp_path) <= MAX_DEFAULT_CACHE_BYTES
    assert default_budget_bytes(100 * MIB) == 75 * MIB


def test_what_is_free_is_never_more_than_the_limit(tmp_path: Path) -> None:
    assert available_memory(tmp_path) == memory_limit(tmp_path)
    write(tmp_path / "proc/meminfo", f"MemTotal: 999 kB\nMemAvailable:  {50 * 1024} kB\n")
    assert available_memory(tmp_path) == 50 * MIB
    write(tmp_path / "sys/fs/cgroup/memory.max", f"{20 * MIB}\n")
    assert available_memory(tmp_path) == 20 * MIB
    write(tmp_path / "sys/fs/cgroup/memory.current", f"{15 * MIB}\n")
    assert available_memory(tmp_path) == 5 * MIB
    write(tmp_path / "sys/fs/cgroup/memory.stat", f"anon 1\ninactive_file {4 * MIB}\n")
    assert available_memory(tmp_path) == 9 * MIB
