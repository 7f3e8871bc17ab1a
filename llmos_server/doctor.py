"""`llmos doctor`: what on this machine keeps LLMOS from serving, and what to do about it.

A running server answers the same question about itself at /admin/v1/doctor.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator

import msgspec

from llmos_server.errors import KernelsUnavailable, LLMOSError
from llmos_server.finding import Finding
from llmos_server.settings import Settings

GB = 10**9
MIN_DISK = 1 * GB
MIN_MEMORY = 2 * GB
TORCH_SECONDS = 120


Check = Callable[[Settings], Iterable[Finding]]


def run_checks(settings: Settings) -> list[Finding]:
    """Every check of `llmos doctor` where no server runs, in the order of the report."""
    return [finding for check in (*installation_checks(), check_mcp, check_port) for finding in check(settings)]


async def examine(settings: Settings) -> list[Finding]:
    """What a running server finds about the machine that it is on; its own port is taken, of course."""

    def run() -> list[Finding]:
        return [finding for check in installation_checks() for finding in check(settings)]

    return await asyncio.to_thread(run)


def installation_checks() -> tuple[Check, ...]:
    return (
        check_python,
        check_torch,
        check_kernels,
        check_threads,
        check_memory,
        check_home,
        check_database,
        check_model,
    )


def has_failed(findings: Iterable[Finding]) -> bool:
    return any(finding.level == "failure" for finding in findings)


def print_findings(findings: Iterable[Finding]) -> None:
    marks = {"ok": "ok  ", "warning": "warn", "failure": "FAIL"}
    for finding in findings:
        print(f"{marks[finding.level]}  {finding.text}" + (f"\n      {finding.remedy}" if finding.remedy else ""))


def check_python(settings: Settings) -> Iterator[Finding]:
    text = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding("ok", text)


def check_torch(settings: Settings) -> Iterator[Finding]:
    """In a process of its own, so that neither a server nor the CLI has torch in its memory afterwards."""
    command = [sys.executable, "-P", "-m", "llmos_server.torch_check", settings.engine.device]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TORCH_SECONDS)
    try:
        yield from msgspec.json.decode(done.stdout, type=list[Finding])
    except msgspec.DecodeError:
        reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        yield Finding("failure", f"torch can't be imported: {reason}", "Set it up anew: rm -r .venv, then make install")


def check_kernels(settings: Settings) -> Iterator[Finding]:
    from llmos_server.kernels.native.build import KERNEL_CACHE, find_compiler, library_path

    if settings.engine.numerics == "exact" or settings.engine.device != "cpu":
        yield Finding("ok", "compiled kernels: not asked for")
        return
    try:
        is_built = library_path(settings.home / KERNEL_CACHE, find_compiler()).exists()
    except KernelsUnavailable as error:
        yield Finding("warning", "no compiled kernels: models run exactly, and many times slower", str(error))
        return
    yield Finding(
        "ok", "compiled kernels: " + ("built" if is_built else "a compiler is here, the first load builds them")
    )


def check_threads(settings: Settings) -> Iterator[Finding]:
    from llmos_server.cores import num_usable_cores

    num_cores, num_threads = num_usable_cores(), settings.engine.threads
    if num_threads > num_cores:
        remedy = f"More threads than cores make it slower. Set engine.threads to at most {num_cores}, or to 0."
        yield Finding("warning", f"engine.threads is {num_threads}, and {num_cores} cores can be used", remedy)
    else:
        yield Finding("ok", f"{num_cores} cores can be used, the engine takes {num_threads or num_cores}")


def check_memory(settings: Settings) -> Iterator[Finding]:
    from llmos_server.engine.memory import default_budget_bytes, default_job_bytes, memory_limit

    limit = memory_limit()
    if limit < MIN_MEMORY:
        remedy = f"The default model needs about {MIN_MEMORY / GB:.0f} GB. Raise the container's limit."
        yield Finding("warning", f"memory: {limit / GB:.1f} GB", remedy)
    else:
        yield Finding("ok", f"memory: {limit / GB:.1f} GB, the container's limit if there is one")
    models = settings.engine.memory_bytes or default_budget_bytes(limit)
    job = settings.jobs.memory_bytes or default_job_bytes(limit)
    shares = f"memory: models may take {models / GB:.1f} GB, one job's processes {job / GB:.1f} GB"
    if settings.engine.device == "cpu" and job > limit // 2 + (limit - models):
        remedy = "Tuning waits until models give back most of their memory. Lower jobs.memory_bytes."
        yield Finding("warning", shares, remedy)
    else:
        yield Finding("ok", shares)


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


def check_database(settings: Settings) -> Iterator[Finding]:
    """It opens, is of this version, and says whether keys are asked for."""
    from llmos_server.store.database import DATABASE, label_of
    from llmos_server.store.store import open_store

    label = label_of(settings.home, settings.database.url)
    if not settings.database.url and not (settings.home / DATABASE).exists():
        yield Finding("ok", f"database {label}: not made yet, the first `llmos serve` does that")
        return

    async def ask() -> bool:
        async with open_store(settings) as store:
            return await store.keys.any_was_made()

    try:
        has_keys = asyncio.run(ask())
    except (LLMOSError, OSError) as error:
        yield Finding("failure", f"database {label}: {error}", "Nothing is served without it. See docs/operations.md.")
        return
    yield Finding("ok", f"database {label}: opens, " + ("keys are asked for" if has_keys else "no key was made yet"))


def check_model(settings: Settings) -> Iterator[Finding]:
    from llmos_server.registry.registry import create_registry

    name = settings.models.default
    try:
        version = create_registry(settings).get(name)
        yield Finding("ok", f"default model {name}: here ({version.size_bytes / 10**6:.0f} MB)")
    except LLMOSError as error:
        yield Finding("warning", f"default model: {error}", "`llmos serve` fetches it at its first start, too.")


def check_mcp(settings: Settings) -> Iterator[Finding]:
    """What can be told without starting them; a running server tells how they are."""
    from llmos_server.agents.mcp.declared import declare_all

    try:
        declared = declare_all(settings.mcp, os.environ)
    except LLMOSError as error:
        yield Finding("failure", f"MCP servers: {error}", "Mend config.toml, or set the variable.")
        return
    for server in declared:
        command = server.settings.command
        if command and server.settings.enabled and shutil.which(command, path=server.env.get("PATH")) is None:
            remedy = "Install it, or write its whole path."
            yield Finding("warning", f"MCP server {server.name}: there is no program {command!r}", remedy)
        else:
            yield Finding("ok", f"MCP server {server.name}: declared ({server.place})")


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
