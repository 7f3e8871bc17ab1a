"""`llmos tui --serve`: nothing happens without the key, and nothing for other sites."""

from __future__ import annotations

import json
import shlex
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
from aiohttp import web
from llmos_tui.browser import server as browser_server
from llmos_tui.browser.server import COOKIE, BrowserServer
from llmos_tui.browser.sessions import MAX_SESSIONS, SESSION_SECONDS, Sessions

KEY = "sk-llmos-right"
BEARER = {"Authorization": f"Bearer {KEY}"}
TERMINAL = """
import sys
open(sys.argv[1], "a").write("started\\n")
out = sys.stdout.buffer
out.write(b"__GANGLION__\\n")
out.write(b"D" + len(b"hello").to_bytes(4, "big") + b"hello")
out.flush()
sys.stdin.buffer.read(1)
"""
"""Stands for a terminal: says hello in textual-serve's protocol, and ends with the first byte that it gets."""


class Browser(NamedTuple):
    """A client without a cookie jar, so that each test says what it shows."""

    http: aiohttp.ClientSession
    url: str
    starts: Path
    holder: list[str]

    @property
    def num_started(self) -> int:
        return len(self.starts.read_text().splitlines()) if self.starts.exists() else 0


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    holder = [KEY]
    starts = tmp_path / "starts"
    command = "exec " + shlex.join([sys.executable, "-c", TERMINAL, str(starts)])
    url = f"http://127.0.0.1:{port}"
    server = BrowserServer(command, "127.0.0.1", port, url, Sessions(lambda: holder[0]))
    runner = web.AppRunner(await server._make_app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield Browser(http, url, starts, holder)
    await runner.cleanup()


async def log_in(browser: Browser, key: str = KEY) -> aiohttp.ClientResponse:
    return await browser.http.post(f"{browser.url}/login", data={"key": key}, allow_redirects=False)


async def status_of_socket(browser: Browser, **headers: str) -> int:
    """101 when it opened."""
    try:
        async with browser.http.ws_connect(f"{browser.url}/ws", headers=headers):
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


async def hello(browser: Browser, **headers: str) -> bytes:
    async with browser.http.ws_connect(f"{browser.url}/ws?width=80&height=24", headers=headers) as terminal:
        message = await terminal.receive(timeout=10)
        return bytes(message.data)


async def test_without_the_key_there_is_a_401_before_a_websocket_and_no_process(browser: Browser) -> None:
    own = {"Origin": browser.url}
    assert await status_of_socket(browser, **own) == 401
    assert await status_of_socket(browser, **own, Authorization="Bearer sk-wrong") == 401
    assert await status_of_socket(browser, **own, Authorization="Bearer ") == 401
    assert await status_of_socket(browser, **own, Cookie=f"{COOKIE}=guess") == 401
    for path in ("/static/js/textual.js", "/download/x", "/nowhere"):
        async with browser.http.get(browser.url + path) as answer:
            assert answer.status == 401, path
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert browser.num_started == 0


async def test_the_page_asks_for_the_key_and_its_cookie_opens_the_terminal(browser: Browser) -> None:
    async with browser.http.get(browser.url) as answer:
        assert answer.status == 401
        assert 'type="password"' in await answer.text()
    wrong = await log_in(browser, "sk-wrong")
    assert wrong.status == 401
    assert "That is not the key." in await wrong.text()
    right = await log_in(browser)
    assert (right.status, right.headers["Location"]) == (303, "/")
    cookie = right.cookies[COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    shown = {"Cookie": f"{COOKIE}={cookie.value}"}
    async with browser.http.get(browser.url, headers=shown) as answer:
        assert answer.status == 200
        assert "textual-terminal" in await answer.text()
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "://" not in (await answer.text()).replace(
            browser.url.replace("http", "ws", 1), ""
        )  # Nothing from outside.
        assert answer.headers["Referrer-Policy"] != "no-referrer"  # Else the login form's Origin is "null".
    assert await hello(browser, Origin=browser.url, **shown) == b"hello"
    assert browser.num_started == 1


async def test_a_program_shows_the_key_itself(browser: Browser) -> None:
    assert await hello(browser, **BEARER) == b"hello"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ""])
async def test_another_sites_page_opens_nothing(browser: Browser, origin: str) -> None:
    cookie = (await log_in(browser)).cookies[COOKIE].value
    assert await status_of_socket(browser, Origin=origin, Cookie=f"{COOKIE}={cookie}") == 403
    assert await status_of_socket(browser, Origin=origin, **BEARER) == 403
    async with browser.http.post(
        f"{browser.url}/login", data={"key": KEY}, headers={"Origin": origin}, allow_redirects=False
    ) as answer:
        assert answer.status == 403
    assert browser.num_started == 0


async def test_a_cookie_without_an_origin_opens_nothing(browser: Browser) -> None:
    """A browser sends one; who sends none and has the cookie is something else."""
    cookie = (await log_in(browser)).cookies[COOKIE].value
    assert await status_of_socket(browser, Cookie=f"{COOKIE}={cookie}") == 403


async def test_another_name_that_leads_here_is_refused(browser: Browser) -> None:
    """DNS rebinding: the browser believes that this is the other site."""
    port = browser.url.rpartition(":")[2]
    for headers in ({"Host": "evil.example"}, {"Host": f"evil.example:{port}", **BEARER}):
        async with browser.http.get(browser.url, headers=headers, allow_redirects=False) as answer:
            assert answer.status == 421
    async with browser.http.get(browser.url, headers={"Host": f"localhost:{port}"}, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (307, f"{browser.url}/")


async def test_terminals_are_limited_and_free_again(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_server, "MAX_TERMINALS", 2)
    url = f"{browser.url}/ws"
    async with (
        browser.http.ws_connect(url, headers=BEARER) as first,
        browser.http.ws_connect(url, headers=BEARER) as second,
    ):
        await first.receive(timeout=10)
        await second.receive(timeout=10)
        assert await status_of_socket(browser, **BEARER) == 503
    for _ in range(100):
        if await status_of_socket(browser, **BEARER) == 101:
            break
    else:
        raise AssertionError("no terminal was free again")


async def test_typed_bytes_reach_the_terminal_and_its_end_closes_the_socket(browser: Browser) -> None:
    async with browser.http.ws_connect(f"{browser.url}/ws", headers=BEARER) as terminal:
        await terminal.receive(timeout=10)
        await terminal.send_str(json.dumps(["stdin", "q"]))


async def test_guessing_is_slow(browser: Browser) -> None:
    for _ in range(5):
        assert (await log_in(browser, "sk-wrong")).status == 401
    locked = await log_in(browser)
    assert locked.status == 429
    assert locked.headers["Retry-After"] == "60"


async def test_a_long_key_is_refused(browser: Browser) -> None:
    assert (await log_in(browser, "x" * 100_000)).status == 413


async def test_a_cookie_is_worth_nothing_after_the_key_has_changed(browser: Browser) -> None:
    cookie = (await log_in(browser)).cookies[COOKIE].value
    browser.holder[0] = "sk-llmos-next"
    assert await status_of_socket(browser, Origin=browser.url, Cookie=f"{COOKIE}={cookie}") == 401


def test_cookies_end_and_are_bounded() -> None:
    now = [0.0]
    sessions = Sessions(lambda: KEY, lambda: now[0])
    first = sessions.log_in(KEY)
    assert first is not None
    assert sessions.is_good(first)
    now[0] = 1.0
    cookies = [sessions.log_in(KEY) for _ in range(MAX_SESSIONS)]
    assert not sessions.is_good(first)
    now[0] = SESSION_SECONDS + 2
    assert not any(sessions.is_good(cookie or "") for cookie in cookies)


def test_without_a_key_of_ours_nobody_is_let_in() -> None:
    sessions = Sessions(lambda: None)
    assert sessions.log_in("") is None
    assert sessions.log_in("None") is None
