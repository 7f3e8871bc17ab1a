"""How many cores there are, and how processes are told how many of them to use."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

CGROUP_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def thread_environment(threads: int) -> dict[str, str]:
    """Read by the math libraries when torch is imported, so it has to be in the environment before.

    Waiting threads sleep instead of spinning: the API process needs the cores too.
    """
    return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}


def num_usable_cores(cpu_limit: Path = CGROUP_CPU_LIMIT) -> int:
    """Cores that this process may use: its affinity, capped by the container's quota ("<quota> <period>")."""
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = cpu_limit.read_text(encoding="ascii").split()
        num_cores = min(num_cores, math.ceil(int(quota) / int(period)))
    return max(num_cores, 1)
