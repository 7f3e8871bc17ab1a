"""The process of chat.guarded: a call a line on stdin, its result a line on stdout. Ends with its parent.

usage: python -m llmos_server.chat.guarded_child CPU_SECONDS MEMORY_BYTES
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import resource
import signal
import sys
import threading
from typing import Any, BinaryIO, get_type_hints

import msgspec

from llmos_server.chat.guarded import become_child
from llmos_server.errors import InvalidRequest

PACKAGE = "llmos_server.chat."
STACK_BYTES = 4 * 2**20
"""Less than any thread has that works on the same grammar later, so that none overflows on what was taken here."""
NICENESS = 3


class Call(msgspec.Struct):
    name: str
    """module:function, whose arguments can all be given by name."""
    args: list[Any]
    kwargs: dict[str, Any]


def main() -> None:
    cpu_seconds, memory_bytes = float(sys.argv[1]), int(sys.argv[2])
    become_child()
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the parent's to handle.
    with contextlib.suppress(OSError, ValueError):  # Not every system lets one.
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.stack_size(STACK_BYTES)
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # What libraries print is no answer.
        serving = threading.Thread(target=_serve, args=(sys.stdin.buffer, out, cpu_seconds))
        serving.start()
        serving.join()


def _serve(calls: BinaryIO, out: BinaryIO, cpu_seconds: float) -> None:
    """What is neither a result nor an InvalidRequest ends the process, too: deep recursion, for example."""
    for line in calls:
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)  # Nobody handles SIGPROF: it ends the process.
        answer = _answer(line)
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.write(answer + b"\n")
        out.flush()


def _answer(line: bytes) -> bytes:
    call = msgspec.json.decode(line, type=Call)
    module, _, name = call.name.partition(":")
    if not module.startswith(PACKAGE):
        raise ValueError(f"{module} is no module of {PACKAGE}")
    fn = getattr(importlib.import_module(module), name)
    hints = get_type_hints(fn)
    given = inspect.signature(fn).bind(*call.args, **call.kwargs).arguments
    arguments = {key: msgspec.convert(value, hints[key]) for key, value in given.items()}
    try:
        return msgspec.json.encode({"value": fn(**arguments)})
    except InvalidRequest as error:
        return msgspec.json.encode({"message": str(error), "param": error.param, "code": error.code})


if __name__ == "__main__":
    main()
