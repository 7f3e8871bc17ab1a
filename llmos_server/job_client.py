"""How jobs ask servers: over HTTP, as any client does, and again where waiting may help."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any, TypeVar

import httpx2
import msgspec

from llmos_server.errors import EngineBusy
from llmos_server.job_contracts import ServerAddress

T = TypeVar("T")

CONNECT_SECONDS = 10.0
MAX_WAIT = 30.0
MAX_BROKEN = 5
"""Times that a connection may break, or an engine die, under one request; then it has failed."""
WAIT_CODES = ("engine_busy", "queue_full", "rate_limit_exceeded", "database_unavailable")
"""The server would take it later, whatever the request is."""


class Unreachable(EngineBusy):
    """The server didn't answer, however often it was asked. A later attempt of the job may fare better."""


class Refusal(msgspec.Struct):
    """What an error of OpenAI's API says."""

    code: str | int | None = None
    message: str = ""


class _Body(msgspec.Struct):
    error: Refusal


def create_client(server: ServerAddress, num_connections: int, *, uses_environment: bool = False) -> httpx2.AsyncClient:
    """uses_environment: its proxies, for servers that aren't this machine's."""
    key = {"Authorization": f"Bearer {server.key}"} if server.key else {}
    return httpx2.AsyncClient(
        base_url=server.base_url,
        headers={"Content-Type": "application/json", **key},
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=num_connections, max_keepalive_connections=num_connections),
        trust_env=uses_environment,
    )


async def post(
    client: httpx2.AsyncClient,
    path: str,
    content: bytes,
    *,
    retried: Collection[int] = (),
    on_wait: Callable[[str], None] = lambda reason: None,
) -> httpx2.Response:
    """The answer, which may be a refusal. Waits as long as the server says that it would take the request later.

    retried: statuses that are asked for again a few times, whatever they say. on_wait: told why, each time.
    Raises Unreachable.
    """
    num_broken = 0
    while True:
        try:
            reply = await client.post(path, content=content)
        except httpx2.TransportError as error:
            num_broken += 1
            if num_broken >= MAX_BROKEN:
                raise Unreachable(f"The connection broke {num_broken} times: {error!r}") from error
            on_wait(f"the connection broke: {error!r}")
            await asyncio.sleep(num_broken)
            continue
        refusal = read_refusal(reply)
        waits = refusal is not None and refusal.code in WAIT_CODES
        is_broken = not waits and (
            reply.status_code in retried or (refusal is not None and refusal.code == "engine_failed")
        )
        num_broken += is_broken
        if not waits and not (is_broken and num_broken < MAX_BROKEN):
            return reply
        on_wait(f"HTTP {reply.status_code}: {'' if refusal is None else refusal.message}")
        await asyncio.sleep(_retry_after(reply, 2.0 ** max(num_broken - 1, 0)))


async def work_until(works: Iterable[Coroutine[Any, Any, T]], watch: Coroutine[Any, Any, None]) -> list[T]:
    """What has come of the works, or what one of them or `watch` raised first. None of them goes on afterwards."""
    tasks = [asyncio.ensure_future(work) for work in works]
    whole = asyncio.gather(*tasks)
    watcher = asyncio.ensure_future(watch)
    ends: list[asyncio.Future[Any]] = [whole, watcher, *tasks]
    try:
        await asyncio.wait(ends[:2], return_when=asyncio.FIRST_COMPLETED)
        if watcher.done():
            watcher.result()
        return whole.result()
    finally:
        for each in ends:
            each.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


def read_refusal(reply: httpx2.Response) -> Refusal | None:
    """None of an answer, and of an error of another form."""
    if reply.status_code < 400:
        return None
    try:
        return msgspec.json.decode(reply.content, type=_Body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _retry_after(reply: httpx2.Response, usual: float) -> float:
    told = reply.headers.get("retry-after", "")
    return min(float(told) if told.isascii() and told.isdigit() else usual, MAX_WAIT)
