"""Lists that the server doesn't stream: asked for again and again, while somebody looks at them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from llmos_tui.client import Client

T = TypeVar("T")

LEAST_SECONDS = 1.0
"""Between two requests, however fast the rest is updated."""


async def poll(get: Callable[[Client], Awaitable[T]], client: Client, seconds: float) -> AsyncIterator[T]:
    """For ever; a failure ends it."""
    while True:
        yield await get(client)
        await asyncio.sleep(max(LEAST_SECONDS, seconds))
