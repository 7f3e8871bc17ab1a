"""Streams that a screen follows while it is shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from textual.message import Message

from llmos_tui.client import Client, ClientError, Unreachable
from llmos_tui.messages import FeedRefused

PAUSE_SECONDS = 1.0
"""Before a stream that ended is opened again."""


class Feed:
    """What comes of open(client), each made a message of."""

    def __init__(self, open: Callable[[Client], AsyncIterator[Any]], message: Callable[[Any], Message]) -> None:
        self.open = open
        self.message = message


class Host(Protocol):
    """A screen, as a feed sees it."""

    def post_message(self, message: Message) -> bool: ...


async def run_feed(feed: Feed, client: Client, host: Host, doubt: Callable[[], None]) -> None:
    """Until it is cancelled or refused. doubt: called when the connection broke; whoever is told cancels this if the
    server is really gone."""
    while True:
        try:
            async for news in feed.open(client):
                host.post_message(feed.message(news))
        except Unreachable:
            pass
        except ClientError as error:
            host.post_message(FeedRefused(feed.message, str(error)))
            doubt()
            return
        doubt()
        await asyncio.sleep(PAUSE_SECONDS)
