"""What all processes of a sandbox use together, which no limit of the kernel's counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

MAIN = "work/main.py"
"""Of the sandbox's root."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def descendants(pid: int) -> Iterator[int]:
    """Those that live; a sandbox's orphans become children of its first process."""
    for child in _children(pid):
        yield child
        yield from descendants(child)


def resident_bytes(pid: int) -> int:
    """Of all processes below this one, pages that several share counted for each."""
    total = 0
    for found in descendants(pid):
        try:
            total += int(Path(f"/proc/{found}/statm").read_text().split()[1]) * PAGE_BYTES
        except (OSError, IndexError):
            continue
    return total


def count_files(pid: int) -> int:
    """In the sandbox's /tmp; 0 before there is one."""
    for found in descendants(pid):
        root = Path(f"/proc/{found}/root")
        try:
            if (root / MAIN).exists():  # Else it is bubblewrap, which sees this machine still.
                disk = os.statvfs(root / "tmp")
                return disk.f_files - disk.f_ffree
        except OSError:
            continue
    return 0


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    except OSError:
        pass
    return found
