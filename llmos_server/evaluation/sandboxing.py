"""The sandbox of python graders: there when the operator allows it, and looked for when it is first needed."""

from __future__ import annotations

import threading

from llmos_server.errors import SettingsError
from llmos_server.sandbox.finding import SandboxUnavailable, find_sandbox
from llmos_server.sandbox.limits import SandboxLimits
from llmos_server.sandbox.sandbox import Sandbox
from llmos_server.settings import EvalsSettings


class GraderSandbox:
    def __init__(self, settings: EvalsSettings) -> None:
        self._settings = settings
        self._sandbox: Sandbox | None = None
        self._turn = threading.Lock()

    def open(self) -> Sandbox | None:
        """None where none is allowed. Blocks; callable from any thread. Raises SettingsError where this machine can't
        hold one: a weaker one is never taken."""
        if not self._settings.python_graders:
            return None
        with self._turn:
            if self._sandbox is None:
                limits = SandboxLimits(seconds=self._settings.python_seconds)
                try:
                    self._sandbox = find_sandbox(limits, self._settings.concurrency)
                except SandboxUnavailable as error:
                    raise SettingsError(f"evals.python_graders is on, but {error}.") from None
            return self._sandbox
