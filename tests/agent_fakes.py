"""Plugins' tools for tests of the agents' loop, and an engine that writes one answer a turn."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Any

import msgspec

from llmos_server import Tool, hookimpl
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate


class Numbers(msgspec.Struct, forbid_unknown_fields=True):
    a: Annotated[int, msgspec.Meta(ge=0)]
    b: int = 1


async def _add(given: Numbers) -> dict[str, int]:
    return {"sum": given.a + given.b}


async def _fail(given: Numbers) -> str:
    raise ValueError("secret")


async def _hang(given: Numbers) -> str:
    await asyncio.sleep(60)
    return "never"


async def _block(given: Numbers) -> str:
    time.sleep(4)
    return "late"


async def _recurse(given: Numbers) -> str:
    return await _recurse(given)


async def _exit(given: Numbers) -> str:
    raise SystemExit(3)


async def _odd(given: Numbers) -> Any:
    return object()


class ToolsPlugin:
    hook_api = "1.0"

    @hookimpl
    def register_tools(self) -> list[Tool]:
        runs = {"add": _add, "fail": _fail, "hang": _hang, "block": _block, "recurse": _recurse, "exit": _exit}
        tools = [
            Tool(name=name, description=f"Will {name}.", input_type=Numbers, run=run, timeout_seconds=0.3)
            for name, run in {**runs, "odd": _odd}.items()
        ]
        pay = Tool(name="pay", description="Pays.", input_type=Numbers, run=_add, needs_approval=True)
        return [*tools, pay]


def add_tools(host: PluginHost) -> PluginHost:
    host.add(Candidate(name="sums", source="built-in", load=ToolsPlugin), {})
    return host


def calls(*wanted: tuple[str, Any], text: str = "") -> str:
    """An answer that calls tools, in the format of Hermes."""
    pieces = [
        f'<tool_call>\n{{"name": {json.dumps(name)}, "arguments": {json.dumps(arguments)}}}\n</tool_call>'
        for name, arguments in wanted
    ]
    return "\n".join([text, *pieces] if text else pieces)


def turns(*answers: str) -> Any:
    """A script: the first request gets the first answer, and so on; the last one stays."""
    num_asked = 0

    def script(request: Any, index: int) -> list[int]:
        nonlocal num_asked
        num_asked += 1
        return list(answers[min(num_asked, len(answers)) - 1].encode())

    return script
