"""Running what was written, with its tests, in the sandbox."""

from __future__ import annotations

import asyncio
import secrets
import threading
from dataclasses import dataclass

from llmos_plugins.code.fields import CodeInput, CodeOutput
from llmos_plugins.code.languages import canonical
from llmos_server import Execution, InputError, Sandbox


@dataclass(frozen=True, slots=True)
class Ran:
    execution: Execution
    passed: bool | None
    """None without tests."""


def check_runnable(input: CodeInput, sandbox: Sandbox | None) -> None:
    """Raises InputError."""
    field = "tests" if input.tests else "run" if input.run else "stdin" if input.stdin else ""
    if not field:
        return
    if field == "stdin":
        raise InputError("it is for a program; ask for run, or give tests", field=field)
    if sandbox is None:
        told = "this server runs no code; its operator can allow it, in a sandbox: [plugins.code] sandbox = true"
        raise InputError(told, field=field)
    if input.task in ("explain", "review"):
        raise InputError(f"{input.task} writes no code that could be run", field=field)
    if canonical(input.language) != "python":
        raise InputError("Python alone is run", field="language")


async def run_here(sandbox: Sandbox, input: CodeInput, output: CodeOutput) -> None:
    """Add to the output what became of it. A program ends when this is cancelled."""
    if not output.parses:
        output.passed = False if input.tests else None
        return
    whole = output.code if output.code is not None else str(output.result)
    stop = threading.Event()
    try:
        ran = await asyncio.to_thread(run_code, sandbox, whole, input.tests, input.stdin, stop)
    finally:
        stop.set()
    output.execution, output.passed = ran.execution, ran.passed


def run_code(sandbox: Sandbox, code: str, tests: str = "", stdin: str = "", stop: threading.Event | None = None) -> Ran:
    """Tests have passed if the program came to their end: one that leaves early with the exit status 0 has not."""
    if not tests:
        return Ran(sandbox.run(code, stdin, stop), None)
    mark = secrets.token_hex(16)
    execution = sandbox.run(f"{code}\n\n{tests}\n\nprint({mark!r})\n", stdin, stop)
    passed = execution.status == "ok" and execution.stdout.endswith(f"{mark}\n")
    execution.stdout = execution.stdout.removesuffix(f"{mark}\n")
    return Ran(execution, passed)
