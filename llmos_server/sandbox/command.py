"""The command line of bubblewrap: no network, no home, an empty system with an interpreter and its libraries."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmos_server.sandbox.limits import SandboxLimits

LIBRARIES = ("/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib")
UID = 65534
"""nobody, within; and without, where the server itself is root's."""


@dataclass(frozen=True)
class Interpreter:
    """A Python of this machine, as itself: outside of virtual environments."""

    path: Path

    @property
    def folders(self) -> list[Path]:
        """What it needs to be seen by the program, links left out."""
        named = [Path(name) for name in LIBRARIES]
        libraries = [folder for folder in named if folder.is_dir() and not folder.is_symlink()]
        own = self.path.parent.parent / "lib"
        inside = any(own.is_relative_to(folder) for folder in libraries)
        return [*libraries, *([own] if own.is_dir() and not inside else [])]

    @property
    def links(self) -> list[tuple[str, str]]:
        """(target, link): /lib64 is a link in many systems."""
        named = [Path(name) for name in LIBRARIES]
        return [(os.readlink(link), str(link)) for link in named if link.is_symlink()]


@dataclass(frozen=True)
class Files:
    """Descriptors that bubblewrap reads from."""

    main: int
    start: int
    seccomp: int


def build_command(bwrap: str, python: Interpreter, files: Files, limits: SandboxLimits) -> list[str]:
    """Within, /work/main.py is the program; /tmp is its own, and all else can't be written to."""
    path = str(python.path)
    mounts: list[str] = []
    for folder in python.folders:
        mounts += ["--ro-bind", str(folder), str(folder)]
    for target, link in python.links:
        mounts += ["--symlink", target, link]
    mounts += ["--ro-bind", path, path, "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    return [
        bwrap,
        *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *("--uid", str(UID), "--gid", str(UID), "--hostname", "sandbox", "--cap-drop", "ALL"),
        *("--new-session", "--die-with-parent", "--clearenv"),
        *("--setenv", "HOME", "/tmp", "--setenv", "LANG", "C.UTF-8", "--setenv", "PATH", "/usr/bin"),
        *mounts,
        *("--proc", "/proc", "--dev", "/dev", "--size", str(limits.disk_bytes), "--tmpfs", "/tmp"),
        *("--ro-bind-data", str(files.main), "/work/main.py", "--ro-bind-data", str(files.start), "/work/start.py"),
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--seccomp", str(files.seccomp)),
        *("--", path, "-I", "-S", "-B", "/work/start.py", path),
        *to_rlimits(limits),
    ]


def to_rlimits(limits: SandboxLimits) -> Sequence[str]:
    numbers = {
        "RLIMIT_AS": limits.memory_bytes,
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": math.ceil(limits.seconds) + 1,  # The watch is first, and tells.
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_NOFILE": limits.num_open_files,
        "RLIMIT_NPROC": limits.num_processes,
    }
    return [f"{name}={number}" for name, number in numbers.items()]
