"""The terminal interface before a fake server, headless."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import tui_data
import tui_snapshots
from chat_fake import ChatFake
from llmos_tui import connection, feeds
from llmos_tui.app import LLMOSApp
from llmos_tui.client import Client
from textual.pilot import Pilot
from tui_fake_server import ADMIN_KEY, FakeServer

Open = Callable[..., AbstractAsyncContextManager[Pilot[None]]]


@pytest.fixture
def server() -> FakeServer:
    """With what every test needs; others add theirs."""
    server = FakeServer()
    server.on("GET", "/health", {"status": "ok"})
    server.on("GET", "/admin/v1/overview", lambda asked: tui_data.overview())
    server.stream("GET", "/admin/v1/live", ("overview", tui_data.overview()))
    server.on("GET", "/admin/v1/requests", lambda asked: tui_data.requests())
    server.stream("GET", "/admin/v1/requests", ("requests", tui_data.requests()))
    server.on("GET", "/admin/v1/requests/{}", lambda asked: tui_data.detail(1))
    server.stream("GET", "/admin/v1/models/pages", ("pages", tui_data.page_map()))
    ChatFake(server)
    return server


@pytest.fixture
def chats(server: FakeServer) -> ChatFake:
    """Chats, conversations and feedback, for tests that look into them."""
    return ChatFake(server)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off without its waiting, no look at a server that nobody doubts, and no animations."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(connection, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(connection, "LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(feeds, "PAUSE_SECONDS", 0.02)


@pytest.fixture
def open_app(server: FakeServer) -> Open:
    """`async with open_app(size=(80, 24), place="jobs") as pilot`: it is online, and what was asked for has come."""

    @asynccontextmanager
    async def open_app(
        size: tuple[int, int] = (140, 40), place: str = "dashboard", key: str = ADMIN_KEY, **options: Any
    ) -> AsyncIterator[Pilot[None]]:
        client = Client("http://llmos.test", lambda: key, transport=server)
        app = LLMOSApp(client, **{"first": place, "clock": lambda: tui_data.NOW, **options})
        app.animation_level = "none"
        async with app.run_test(size=size, notifications=True) as pilot:
            for _ in range(3):
                await pilot.pause()
            yield pilot

    return open_app


@pytest.fixture
def sees() -> Callable[[Pilot[None]], str]:
    """All words on the screen, as lines."""
    return tui_snapshots.shown_text


@pytest.fixture
def wait_for() -> Callable[..., Any]:
    """`await wait_for(pilot, lambda: ...)`: until it is so; after 5 s the test fails."""

    async def wait_for(pilot: Pilot[None], is_so: Callable[[], Any]) -> None:
        for _ in range(250):
            await pilot.pause()
            if is_so():
                return
            await pilot.pause(0.02)
        raise AssertionError("it did not become so within 5 s")

    return wait_for
