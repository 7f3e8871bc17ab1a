"""How much memory there is, and which part of it LLMOS takes when nobody says; torch-free."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

MAX_DEFAULT_CACHE_BYTES = 4 * 2**30
CACHED_BATCHES = 4
"""No pool is planned larger than for so many full batches of full-length sequences: more could hardly be used."""


def default_cache_bytes(limit: int) -> int:
    """For all KV caches together: a quarter of the memory limit, at most 4 GiB."""
    return min(limit // 4, MAX_DEFAULT_CACHE_BYTES)


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
    limit = memory_limit(root)
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return min(int(line.split()[1]) * 1024, limit)
    return limit


def _cgroup_limits(root: Path) -> list[int]:
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    folders = [(root / "sys/fs/cgroup", "memory.max"), (root / "sys/fs/cgroup/memory", "memory.limit_in_bytes")]
    limits = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers not in ("", "memory") and "memory" not in controllers.split(","):
            continue
        base, name = folders[1] if controllers else folders[0]
        folder = base / group.lstrip("/")
        limits += [_read_limit(path / name) for path in (folder, *folder.parents) if path.is_relative_to(base)]
    limits += [_read_limit(base / name) for base, name in folders]
    return [limit for limit in limits if limit is not None]


def _read_limit(path: Path) -> int | None:
    """None for "max" and for files that aren't there."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
