"""One call of a server's tool: checked, bounded, timed and logged. Whatever the tool does, this returns an output."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

import msgspec
import structlog

from llmos_server.agents.calls import Call
from llmos_server.agents.limits import clip
from llmos_server.agents.tool import ServerTool, ToolOutput
from llmos_server.chat.answer_check import explain_within_bounds
from llmos_server.chat.guarded import shared_guard
from llmos_server.errors import LLMOSError

T = TypeVar("T")
log = structlog.get_logger(__name__)

CANCEL_SECONDS = 2.0
"""How long a tool that was cancelled is waited for; then it is left to itself."""

Outcome = Literal["ok", "error", "invalid", "timeout", "raised"]
"""error: the tool said so itself. invalid: its arguments don't fit, so it was not called."""


class InvalidArguments(Exception):
    """str(error) tells the model what to change."""


async def run_call(call: Call, tool: ServerTool, *, max_seconds: float | None, max_output: int) -> ToolOutput:
    """max_seconds: what is left of the loop's time. The log line tells what ran, never what with."""
    started = time.perf_counter()
    seconds = tool.timeout_seconds if max_seconds is None else min(tool.timeout_seconds, max(max_seconds, 0.0))
    outcome: Outcome = "ok"
    extra: dict[str, str] = {}
    try:
        arguments = await _check(call, tool)
        output = await bounded(_run(tool, arguments), seconds)
        outcome = "error" if output.is_error else "ok"
    except InvalidArguments as error:
        outcome, output = "invalid", _failed(f"The arguments don't fit: {error}")
    except TimeoutError:
        outcome, output = "timeout", _failed(f"The tool took longer than its {seconds:g} s.")
    except LLMOSError as error:
        outcome, output = "raised", _failed(str(error))
        extra = {"error": type(error).__name__}
    except Exception as error:
        outcome, output = "raised", _failed(f"The tool failed ({type(error).__name__}); the server's log tells more.")
        extra = {"error": type(error).__name__}
        log.debug("tool failed", name=tool.shown_name, source=tool.source, exc_info=error)
    took = round(time.perf_counter() - started, 4)
    log.info("tool call", name=tool.shown_name, source=tool.source, seconds=took, outcome=outcome, **extra)
    return ToolOutput(text=clip(output.text, max_output), is_error=output.is_error)


async def bounded(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """Raises TimeoutError, soon after `seconds` even where the work doesn't end when it is cancelled."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_SECONDS)
            raise TimeoutError
        return task.result()
    except asyncio.CancelledError:
        if task.cancelled() and not _is_cancelled():  # The tool ended itself so.
            raise RuntimeError("the tool was cancelled from inside") from None
        raise
    finally:
        task.cancel()
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


def _is_cancelled() -> bool:
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


async def _run(tool: ServerTool, arguments: dict[str, Any]) -> ToolOutput:
    output = await tool.run(arguments)
    if not isinstance(output, ToolOutput) or not isinstance(output.text, str):
        raise TypeError("a tool returns a ToolOutput")
    return output


async def _check(call: Call, tool: ServerTool) -> dict[str, Any]:
    """Raises InvalidArguments."""
    text = call.arguments or "{}"
    try:
        arguments = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise InvalidArguments(f"they are no JSON ({error})") from None
    if not isinstance(arguments, dict):
        raise InvalidArguments("they are no JSON object")
    mismatch = await shared_guard().in_thread(explain_within_bounds, tool.parameters, text)
    if mismatch is not None:
        raise InvalidArguments(mismatch)
    return arguments


def _failed(text: str) -> ToolOutput:
    return ToolOutput(text=text, is_error=True)
