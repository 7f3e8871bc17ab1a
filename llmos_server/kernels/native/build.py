"""The compiled kernels: found in a cache, or built there with the machine's C++ compiler.

Each instruction set is a translation unit of its own with its own flags; which one runs is decided at load, so the
library isn't bound to the processor that it was built on.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from llmos_server.errors import KernelsUnavailable
from llmos_server.settings import find_home

KERNEL_CACHE = "kernels"
"""Folder under LLMOS_HOME."""
SOURCES = Path(__file__).parent / "src"
FLAGS = (
    "-std=c++20", "-O3", "-fPIC", "-pthread", "-fvisibility=hidden", "-w", "-fno-math-errno", "-ffp-contract=off",
    "-fno-tree-ter", "-fno-tree-reassoc",
)  # fmt: skip
"""Products are fused where the source says so and nowhere else: the same bits from every way through the code. The last
two are for GCC, which otherwise keeps all products of a group in memory before it adds them: a third slower."""
AVX2 = ("-mavx2", "-mfma", "-mf16c")
AVX512 = (*AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni")
UNITS: dict[str, tuple[str, ...]] = {"team": (), "library": (), "backend_plain": ()}
X86_UNITS = {"backend_plain": ("-O2",), "backend_avx2": AVX2, "backend_avx512vnni": AVX512}
"""After the plain ones: of an inline function that several units hold, the linker takes the first. Plain code is the
last resort here, so it is compiled in half the time."""
COMPILERS = ("c++", "g++", "clang++")
MAX_SECONDS = 300


def find_or_build(cache: Path) -> Path:
    """The library for these sources and this compiler. cache: a folder, made with mode 0700.

    Raises KernelsUnavailable with the reason: no compiler, or what it said.
    """
    compiler = find_compiler()
    library = library_path(cache, compiler)
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(cache)
        if not library.exists():
            with (cache / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not library.exists():
                    _build(compiler, library)
    except OSError as error:
        raise KernelsUnavailable(f"{cache} can't be used: {error.strerror}.") from None
    return library


def _check_private(cache: Path) -> None:
    """What is loaded from there runs as this user, so nobody else may write it."""
    status = cache.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise KernelsUnavailable(f"{cache} can be written by others. Run: chmod 700 {cache}")


def library_path(cache: Path, compiler: str) -> Path:
    """Where the library of these sources is, or will be. Raises KernelsUnavailable when the compiler can't be run."""
    return cache / f"kernels-{_digest(compiler)}.so"


def find_compiler() -> str:
    """CXX, else the first of COMPILERS. Raises KernelsUnavailable when there is none."""
    named = os.environ.get("CXX")
    for candidate in (named,) if named else COMPILERS:
        if path := shutil.which(candidate):
            return path
    raise KernelsUnavailable(
        f"There is no C++ compiler ({named or ', '.join(COMPILERS)}). Install one (Debian, Ubuntu: sudo apt install "
        "g++; Fedora: sudo dnf install gcc-c++; macOS: xcode-select --install)."
    )


def main() -> int:
    """`python -m llmos_server.kernels.native.build`: build them now, where the worker will look for them."""
    try:
        print(f"compiled kernels: {find_or_build(find_home() / KERNEL_CACHE).name}")
    except KernelsUnavailable as error:
        print(f"no compiled kernels, so models run many times slower: {error}")
    return 0


def units() -> dict[str, tuple[str, ...]]:
    """Translation units of this machine's architecture and their own flags, in the order in which they are linked."""
    return UNITS | (X86_UNITS if platform.machine() in ("x86_64", "AMD64") else {})


def _digest(compiler: str) -> str:
    version = _run([compiler, "--version"])
    parts = [version, platform.machine(), *FLAGS, *(flag for flags in units().values() for flag in flags)]
    hashed = hashlib.sha256("\0".join(parts).encode())
    for path in sorted(SOURCES.iterdir()):
        hashed.update(path.read_bytes())
    return hashed.hexdigest()[:24]


def _build(compiler: str, library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        objects = {unit: str(Path(folder, f"{unit}.o")) for unit in units()}
        commands = [
            [compiler, *FLAGS, *flags, "-c", str(SOURCES / f"{unit}.cpp"), "-o", objects[unit]]
            for unit, flags in units().items()
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, commands))
        result = Path(folder, library.name)
        _run([compiler, "-shared", "-pthread", *objects.values(), "-o", str(result)])
        result.rename(library)


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=MAX_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelsUnavailable(f"{command[0]} can't be run: {error}.") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise KernelsUnavailable(f"{command[0]} failed: {said[0] if said else f'exit status {done.returncode}'}.")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
