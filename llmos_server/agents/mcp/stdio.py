"""MCP over a program's stdin and stdout: a message a line, of bounded length."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import PARSE_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter

from llmos_server.agents.mcp.process import HeldProcess

Incoming = SessionMessage | Exception


@asynccontextmanager
async def over_stdio(
    process: HeldProcess, max_line_bytes: int, on_end: Callable[[str], None]
) -> AsyncIterator[tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]]:
    """A transport of the SDK's. on_end: told why nothing comes any more."""
    to_us, incoming = anyio.create_memory_object_stream[Incoming](0)
    outgoing, from_us = anyio.create_memory_object_stream[SessionMessage](0)
    async with to_us, incoming, outgoing, from_us, anyio.create_task_group() as group:
        group.start_soon(_read, process, max_line_bytes, to_us, on_end)
        group.start_soon(_write, process, from_us)
        try:
            yield incoming, outgoing
        finally:
            group.cancel_scope.cancel()


async def _read(
    process: HeldProcess,
    max_line_bytes: int,
    to_us: MemoryObjectSendStream[Incoming],
    on_end: Callable[[str], None],
) -> None:
    async with to_us:
        while True:
            try:
                line = await process.stdout.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                on_end(await process.how_it_ended())
                return
            except asyncio.LimitOverrunError:
                on_end(f"sent a message of more than {max_line_bytes} bytes")
                return
            if line.strip():
                try:
                    await to_us.send(_parse(line))
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return


async def _write(process: HeldProcess, from_us: MemoryObjectReceiveStream[SessionMessage]) -> None:
    """Ends with the program's stdin; _read tells why."""
    with contextlib.suppress(ConnectionError):
        async for message in from_us:
            process.stdin.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await process.stdin.drain()


def _parse(line: bytes) -> Incoming:
    """What is no message but has a request's id ends that request; else nobody would know before its time is up."""
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        try:
            request_id = msgspec.json.decode(line, type=_Identified).id
        except msgspec.MsgspecError:
            return error
        detail = ErrorData(code=PARSE_ERROR, message="the answer is no message of MCP")
        return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request_id, error=detail))


class _Identified(msgspec.Struct):
    id: int | str
