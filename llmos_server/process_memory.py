"""What the operating system tells of the memory of processes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def rss_of(pid: int) -> int | None:
    """Resident bytes; None where there is no /proc, or the process has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return None


def family_bytes(pid: int) -> int | None:
    """Of a process, its session and all that they have started, together: what is theirs alone, and their part of what
    they share. None where the system doesn't tell."""
    sizes = [size for member in _family(pid) if (size := _proportional_bytes(member)) is not None]
    return sum(sizes) if sizes else None


def _family(pid: int) -> set[int]:
    parents: dict[int, int] = {}
    family = {pid}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            # The name before the last bracket may hold anything.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
            if int(fields[3]) == pid:
                family.add(int(folder.name))
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def _proportional_bytes(pid: int) -> int | None:
    """What files hold that are mapped isn't counted: the system takes that back when it likes."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    sizes = dict(line.split(":", 1) for line in text.splitlines() if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return sum(int(size.split()[0]) * 1024 for size in sizes.values()) if sizes else rss_of(pid)
