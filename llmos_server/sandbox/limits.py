"""What a program in the sandbox may use."""

from __future__ import annotations

import msgspec

MIB = 2**20


class SandboxLimits(msgspec.Struct, frozen=True, kw_only=True):
    seconds: float = 10.0
    """Of the clock; then all its processes are killed. A process may use a second more of a processor."""
    memory_bytes: int = 512 * MIB
    """Address space of one process, and what all together have in memory."""
    num_processes: int = 16
    """And threads."""
    num_open_files: int = 64
    """Of one process."""
    file_bytes: int = 16 * MIB
    disk_bytes: int = 64 * MIB
    """All that it may write, which is to /tmp and lies in memory."""
    num_files: int = 4096
    """That it may make there."""
    output_bytes: int = 64 * 1024
    """stdout and stderr together."""
