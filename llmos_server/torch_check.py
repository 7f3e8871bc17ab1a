"""What `llmos doctor` says about torch: `python -m llmos_server.torch_check cpu|cuda` prints findings as JSON."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from llmos_server.finding import Finding

OPENMP_LIBRARY = re.compile(r"/(lib(?:gomp|iomp5|omp)[^/\s]*\.(?:so|dylib)[^/\s]*)$", re.MULTILINE)


def check_torch(device: str) -> Iterator[Finding]:
    """Build, version, CPU features, CUDA if asked for, and that one OpenMP runtime is loaded."""
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("failure", f"torch can't be imported: {error}", "Set it up anew: rm -r .venv, then make install")
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    capability = torch.backends.cpu.get_cpu_capability()
    yield Finding("ok", f"torch {torch.__version__} ({build} build, CPU kernels: {capability})")
    wants_cuda = device == "cuda"
    if wants_cuda and not torch.cuda.is_available():
        remedy = "Install the driver and torch's CUDA build (make install TORCH=cuda), or set engine.device to cpu."
        yield Finding("failure", "engine.device is cuda, and torch finds no GPU that it can use", remedy)
    yield openmp_finding(loaded_openmp())


def loaded_openmp(maps: Path = Path("/proc/self/maps")) -> list[str]:
    """File names of the OpenMP runtimes in this process; empty where the system doesn't tell."""
    try:
        text = maps.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return sorted(set(OPENMP_LIBRARY.findall(text)))


def openmp_finding(names: list[str]) -> Finding:
    """Two runtimes would each start a thread for every core."""
    if len(names) > 1:
        remedy = "They compete for the cores. Remove the package that brings the second one."
        return Finding("warning", f"{len(names)} OpenMP runtimes are loaded: {', '.join(names)}", remedy)
    return Finding("ok", f"OpenMP runtime: {names[0] if names else 'not told by this system'}")


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(list(check_torch(sys.argv[1]))))
