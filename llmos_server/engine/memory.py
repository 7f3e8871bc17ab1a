"""How much memory there is, and which part of it LLMOS takes when nobody says; torch-free."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

MAX_DEFAULT_CACHE_BYTES = 4 * 2**30
SMALL_JOB_BYTES = 4 * 2**30
"""A model of some hundred million weights is tuned with less, in float32."""
CACHED_BATCHES = 4
"""No pool is planned larger than for so many full batches of full-length sequences: more could hardly be used."""

NAMES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""By the cgroup's version: files of the limit and of what is used, and the part of that which can be dropped."""


def default_cache_bytes(limit: int) -> int:
    """For all KV caches together: a quarter of the memory limit, at most 4 GiB."""
    return min(limit // 4, MAX_DEFAULT_CACHE_BYTES)


def default_job_bytes(limit: int) -> int:
    """For one job: a quarter of the memory limit, or up to the half of it where a small job needs more."""
    return max(limit // 4, min(limit // 2, SMALL_JOB_BYTES))


def default_budget_bytes(limit: int) -> int:
    """For all workers together: three quarters of the memory limit. The rest is for the API process, the operating
    system, and the tensor that a load holds twice."""
    return limit // 4 * 3


def memory_limit(root: Path = Path("/")) -> int:
    """Bytes: the tightest cgroup limit (version 2 or 1) above this process, or the machine's memory.

    root: where proc and sys are found.
    """
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([total, *_cgroup_limits(root)])


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that a program may take now without others being swapped out, as far as the system tells."""
    available = min([memory_limit(root), *_cgroup_rests(root)])
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return min(int(line.split()[1]) * 1024, available)
    return available


def _cgroup_limits(root: Path) -> list[int]:
    limits = [_read_limit(folder / NAMES[version][0]) for folder, version in _cgroup_folders(root)]
    return [limit for limit in limits if limit is not None]


def _cgroup_rests(root: Path) -> list[int]:
    """Of each limit, what isn't in use: files that the system can drop aren't."""
    rests = []
    for folder, version in _cgroup_folders(root):
        limit, used = (_read_limit(folder / name) for name in NAMES[version][:2])
        if limit is not None and used is not None:
            rests.append(limit - used + _read_inactive(folder / "memory.stat", NAMES[version][2]))
    return rests


def _cgroup_folders(root: Path) -> list[tuple[Path, int]]:
    """With the version of their cgroup: those above this process, and the root of each."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    bases = {2: root / "sys/fs/cgroup", 1: root / "sys/fs/cgroup/memory"}
    found = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers not in ("", "memory") and "memory" not in controllers.split(","):
            continue
        version = 1 if controllers else 2
        folder = bases[version] / group.lstrip("/")
        found += [(path, version) for path in (folder, *folder.parents) if path.is_relative_to(bases[version])]
    return found + [(base, version) for version, base in bases.items()]


def _read_inactive(path: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return 0


def _read_limit(path: Path) -> int | None:
    """None for "max" and for files that aren't there."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
