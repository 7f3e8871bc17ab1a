"""`llmos doctor`: what on this machine keeps LLMOS from serving, and what to do about it."""

from __future__ import annotations

import platform
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llmos_server.errors import LLMOSError
from llmos_server.settings import Settings

Level = Literal["ok", "warning", "failure"]

GB = 10**9
MIN_DISK = 1 * GB
MIN_MEMORY = 2 * GB
OPENMP_LIBRARY = re.compile(r"/(lib(?:gomp|iomp5|omp)[^/\s]*\.(?:so|dylib)[^/\s]*)$", re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """One line of the report. `remedy` says what to do unless all is well."""

    level: Level
    text: str
    remedy: str = ""


def run_checks(settings: Settings) -> list[Finding]:
    """Every check, in the order of the report."""
    checks: tuple[Callable[[Settings], Iterable[Finding]], ...] = (
        check_python,
        check_torch,
        check_threads,
        check_memory,
        check_home,
        check_model,
        check_port,
    )
    return [finding for check in checks for finding in check(settings)]


def print_findings(findings: Iterable[Finding]) -> int:
    """Print the report; returns the exit status: 1 if anything fails."""
    marks = {"ok": "ok  ", "warning": "warn", "failure": "FAIL"}
    levels: list[Level] = []
    for finding in findings:
        levels.append(finding.level)
        print(f"{marks[finding.level]}  {finding.text}" + (f"\n      {finding.remedy}" if finding.remedy else ""))
    return 1 if "failure" in levels else 0


def check_python(settings: Settings) -> Iterator[Finding]:
    text = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding("ok", text)


def check_torch(settings: Settings) -> Iterator[Finding]:
    """Build, version, CPU features, CUDA if asked for, and that one OpenMP runtime is loaded."""
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("failure", f"torch can't be imported: {error}", "Set it up anew: rm -r .venv, then make install")
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    capability = torch.backends.cpu.get_cpu_capability()
    yield Finding("ok", f"torch {torch.__version__} ({build} build, CPU kernels: {capability})")
    wants_cuda = settings.engine.device == "cuda"
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


def check_threads(settings: Settings) -> Iterator[Finding]:
    from llmos_server.engine.launcher import num_usable_cores

    num_cores, num_threads = num_usable_cores(), settings.engine.threads
    if num_threads > num_cores:
        remedy = f"More threads than cores make it slower. Set engine.threads to at most {num_cores}, or to 0."
        yield Finding("warning", f"engine.threads is {num_threads}, and {num_cores} cores can be used", remedy)
    else:
        yield Finding("ok", f"{num_cores} cores can be used, the engine takes {num_threads or num_cores}")


def check_memory(settings: Settings) -> Iterator[Finding]:
    from llmos_server.engine.memory import memory_limit

    limit = memory_limit()
    if limit < MIN_MEMORY:
        remedy = f"The default model needs about {MIN_MEMORY / GB:.0f} GB. Raise the container's limit."
        yield Finding("warning", f"memory: {limit / GB:.1f} GB", remedy)
    else:
        yield Finding("ok", f"memory: {limit / GB:.1f} GB, the container's limit if there is one")


def check_home(settings: Settings) -> Iterator[Finding]:
    """LLMOS_HOME can be written, and has room."""
    home = settings.home
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        yield Finding("failure", f"{home} can't be written ({error.strerror})", "Set LLMOS_HOME to a folder of yours.")
        return
    free = shutil.disk_usage(home).free
    if free < MIN_DISK:
        remedy = "Models are kept there. Free some disk, or set LLMOS_HOME to a folder on a bigger one."
        yield Finding("warning", f"{home} has {free / GB:.1f} GB free", remedy)
    else:
        yield Finding("ok", f"{home} can be written, {free / GB:.1f} GB free")


def check_model(settings: Settings) -> Iterator[Finding]:
    from llmos_server.registry.registry import Registry

    name = settings.models.default
    try:
        version = Registry(settings.home, settings.models.aliases, settings.models.hub_timeout_seconds).get(name)
        yield Finding("ok", f"default model {name}: here ({version.size_bytes / 10**6:.0f} MB)")
    except LLMOSError as error:
        yield Finding("warning", f"default model: {error}", "`llmos serve` fetches it at its first start, too.")


def check_port(settings: Settings) -> Iterator[Finding]:
    host, port = settings.api.host, settings.api.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            remedy = "If that is LLMOS already serving, all is well. Else choose another: llmos serve --port 8001"
            yield Finding("warning", f"port {port} on {host} can't be taken ({error.strerror})", remedy)
            return
    yield Finding("ok", f"port {port} on {host} is free")
