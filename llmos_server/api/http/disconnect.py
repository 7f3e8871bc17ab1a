"""Clients that leave. Litestar cancels no handler, so every wait on an engine goes through here.

A streamed answer that has begun is watched by EventSourceResponse instead: only one reader of `receive` at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from litestar.types import Receive

from llmos_server.api.errors import ClientDisconnected

T = TypeVar("T")


async def run_until_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; when the client leaves first, `work` is cancelled and ClientDisconnected raised."""
    task = asyncio.ensure_future(work)
    await wait_until_disconnect(receive, task)
    return task.result()


async def wait_until_disconnect(receive: Receive, task: asyncio.Future[Any], timeout: float | None = None) -> bool:
    """True when `task` is done, False on time-out (the task goes on).

    The request's body has been read, so the next message can only be the client's leaving. Then, or when this wait is
    cancelled itself, the task is cancelled and has ended when this returns.
    """
    listener = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, listener}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and listener.done():
            await cancel_and_wait(task)
            raise ClientDisconnected
        return task.done()
    except asyncio.CancelledError:
        await cancel_and_wait(task)
        raise
    finally:
        await cancel_and_wait(listener)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def cancel_and_wait(task: asyncio.Future[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
