"""Calls in a process of their own, within bounds on processor time, memory and stack.

For libraries that a client's input can lead astray: a pattern of twenty characters may keep a parser of grammars busy
for an hour, a schema of a few kilobytes make it overflow its stack, and neither can be stopped from inside. There the
process ends, the call raises TooComplex, and the next one gets a new process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar, get_type_hints

import msgspec

from llmos_server.chat.pool import TextPool
from llmos_server.errors import InvalidRequest

P = ParamSpec("P")
T = TypeVar("T")

CPU_SECONDS = 4.0
"""Of one call. The largest inputs that are taken need about one, on a slow core three."""
MEMORY_BYTES = 2 * 2**30
"""Address space of the process; it needs 0.2 GiB."""
ARGV = (sys.executable, "-P", "-m", "llmos_server.chat.guarded_child", str(CPU_SECONDS), str(MEMORY_BYTES))


class TooComplex(Exception):
    """The call came to no end within its bounds."""


class Answer(msgspec.Struct):
    """What the child writes. value: empty where it raised an InvalidRequest."""

    value: msgspec.Raw = msgspec.Raw()
    message: str = ""
    param: str | None = None
    code: str | None = None


class GuardedProcess:
    """One process, started at the first call, one call after the other. Functions are sent by name; arguments and
    results, of the types that their annotations say, as JSON."""

    def __init__(self, argv: tuple[str, ...] = ARGV) -> None:
        self._argv = argv
        self._pool = TextPool(max_workers=1, inline_below_chars=0)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    async def in_thread(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """For what calls something guarded, and so blocks. Raises TextBusy when too many wait."""
        return await self._pool.run(0, lambda: fn(*args, **kwargs))

    def call(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """fn: of a module of this package. Raises TooComplex, and the InvalidRequest that fn raises."""
        request = msgspec.json.encode({"name": f"{fn.__module__}:{fn.__qualname__}", "args": args, "kwargs": kwargs})
        with self._lock:
            answer = self._exchange(request + b"\n")
        if not bytes(answer.value):
            raise InvalidRequest(answer.message, param=answer.param, code=answer.code)
        made: T = msgspec.json.decode(answer.value, type=get_type_hints(fn)["return"])
        return made

    def close(self) -> None:
        with self._lock:
            self._end()

    def _exchange(self, request: bytes) -> Answer:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(request)
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            self._end()
            raise TooComplex
        return msgspec.json.decode(line, type=Answer)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # What was not written yet finds no reader.
                pipe.close()
        process.wait()


_SHARED = GuardedProcess()
atexit.register(_SHARED.close)
_IS_CHILD = False


def shared_guard() -> GuardedProcess:
    """This process's own: however many apps there are in it, one child is enough."""
    return _SHARED


def become_child() -> None:
    """From here on, guarded functions run where they are called."""
    global _IS_CHILD
    _IS_CHILD = True


def guarded(fn: Callable[P, T]) -> Callable[P, T]:
    """A function that is called in the shared process, wherever it is called. Its keyword argument `param` names the
    request's field in the InvalidRequest for what is too complex. It blocks: call it in a thread."""

    @functools.wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if _IS_CHILD:
            return fn(*args, **kwargs)
        try:
            return _SHARED.call(fn, *args, **kwargs)
        except TooComplex:
            param = str(kwargs["param"])
            raise InvalidRequest(
                f"{param}: it is too complex: it can't be read within {CPU_SECONDS:g} s of work and the memory for it. "
                "Nest less, repeat less, and ask for fewer things of one value.",
                param=param,
                code="too_complex",
            ) from None

    return call
