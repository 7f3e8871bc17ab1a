"""Is the server there, and does it know the key? Asked again and again, with back-off while it isn't."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from llmos_tui.calls.live import check_health, get_overview
from llmos_tui.client import Client, ClientError, Refused, Unauthorised, Unreachable

CHECK_SECONDS = 5.0
"""Between two looks at a server that is there; a request that fails makes one at once."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0


class State(Enum):
    """Of the connection."""

    CONNECTING = "connecting"
    ONLINE = "online"
    LOST = "lost"
    UNAUTHORISED = "unauthorised"
    UNUSABLE = "unusable"
    """Something answers that isn't a server with this admin API."""


@dataclass(frozen=True)
class Connection:
    """What the banner shows."""

    state: State
    reason: str = ""
    retry_seconds: float | None = None

    @property
    def is_online(self) -> bool:
        return self.state is State.ONLINE


class Watch:
    """Keeps `connection` true and tells each change."""

    def __init__(self, client: Client, tell: Callable[[Connection], None]) -> None:
        self._client = client
        self._tell = tell
        self._look_now = asyncio.Event()
        self.connection = Connection(State.CONNECTING)

    def doubt(self) -> None:
        """Look now: something failed, or the user asks for it."""
        self._look_now.set()

    async def run(self) -> None:
        """For ever."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            is_doubted = self._look_now.is_set()
            self._look_now.clear()
            connection = await self._look(pause, is_quick=self.connection.is_online and not is_doubted)
            if connection != self.connection:
                self.connection = connection
                self._tell(connection)
            pause = FIRST_PAUSE_SECONDS if connection.is_online else min(2 * pause, LONGEST_PAUSE_SECONDS)
            await self._wait(connection.retry_seconds or CHECK_SECONDS)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._look_now.wait()
        except TimeoutError:
            return
        await asyncio.sleep(FIRST_PAUSE_SECONDS if self.connection.is_online else 0)  # Failures come in bursts.

    async def _look(self, pause: float, *, is_quick: bool) -> Connection:
        """is_quick: the key was good a moment ago, so that it is enough if anybody answers."""
        try:
            if is_quick:
                await check_health(self._client)
            else:
                await get_overview(self._client)
        except Unreachable as error:
            return Connection(State.LOST, str(error), pause)
        except Unauthorised as error:
            return Connection(State.UNAUTHORISED, str(error), LONGEST_PAUSE_SECONDS)
        except Refused as error:
            return Connection(State.UNUSABLE, _unusable(self._client.root, error), LONGEST_PAUSE_SECONDS)
        except ClientError as error:
            return Connection(State.UNUSABLE, str(error), LONGEST_PAUSE_SECONDS)
        return Connection(State.ONLINE)


def _unusable(root: str, error: Refused) -> str:
    if error.status == 404:
        return (
            f"What answers at {root} has no /admin/v1: another program, or an older LLMOS. Update it, or name another."
        )
    return str(error)
