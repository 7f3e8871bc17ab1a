"""The grader python: a client's program, run in the sandbox. It defines grade(sample, item), which gives a number."""

from __future__ import annotations

import ast
import asyncio
import math
import secrets
import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.graders.spec import Python
from llmos_server.evaluation.grading import Grade, GraderFailed
from llmos_server.sandbox.sandbox import Execution, Sandbox

HOW = "A python grader defines def grade(sample, item) and returns a number."
_DRIVER = """
import json, sys
_values = json.load(sys.stdin)
_score = grade(_values["sample"], _values["item"])
print()
print({mark!r} + json.dumps(float(_score)))
"""


class PythonGrader:
    type = "python"

    def __init__(self, spec: Python, sandbox: Sandbox | None, where: str) -> None:
        """sandbox: None where the operator allows none. Raises InvalidRequest."""
        self.name = spec.name
        self._source = spec.source
        self._threshold = spec.pass_threshold
        if sandbox is None:
            raise InvalidRequest(
                f"{where}: this server runs no programs of clients. Its operator can allow it, in a sandbox: [evals] "
                "python_graders = true",
                param=f"{where}.type",
                code="python_graders_off",
            )
        self._sandbox = sandbox
        _check_program(spec.source, f"{where}.source")

    async def grade(self, values: Mapping[str, Any]) -> Grade:
        mark, stop = secrets.token_hex(16), threading.Event()
        program = f"{self._source}\n{_DRIVER.format(mark=mark)}"
        given = msgspec.json.encode({"sample": values.get("sample") or {}, "item": values.get("item") or {}}).decode()
        try:
            ran = await asyncio.to_thread(self._sandbox.run, program, given, stop)
        except OSError as error:
            raise GraderFailed(
                f"{self.name}: the sandbox can't be started ({error}).", "python_grader_server_error"
            ) from None
        finally:
            stop.set()
        score = self._read(ran, mark)
        passed = score > 0 if self._threshold is None else score >= self._threshold
        return Grade(score=score, passed=passed)

    def _read(self, ran: Execution, mark: str) -> float:
        last = ran.stdout.rstrip("\n").rpartition("\n")[2]
        if ran.status != "ok" or not last.startswith(mark):
            told = ran.stderr.strip().splitlines()[-1:] or [f"it ended with {ran.status}"]
            raise GraderFailed(f"{self.name}: {told[0][:500]}", "python_grader_runtime_error")
        score = float(last.removeprefix(mark))
        if not math.isfinite(score):
            raise GraderFailed(
                f"{self.name}: grade() returned {score}, which is no score.", "python_grader_runtime_error"
            )
        return score


def _check_program(source: str, where: str) -> None:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidRequest(f"{where}: {error}. {HOW}", param=where, code="invalid_program") from None
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "grade" not in names:
        raise InvalidRequest(f"{where}: there is no function grade. {HOW}", param=where, code="invalid_program")
