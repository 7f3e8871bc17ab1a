"""/admin/v1/logs: pages, filters, and what is followed."""

from __future__ import annotations

import json
import logging

import httpx2
import pytest
from sse_starlette.sse import AppStatus

from llmos_server.access.gate import Gate
from llmos_server.api.app import create_api
from llmos_server.api.served import ModelDirectory
from llmos_server.api.watchers import MAX_WATCHERS
from llmos_server.logbook.ring import RingLog
from llmos_server.settings import ApiSettings

TOKEN = "llmos-admin-" + "t" * 43
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def book() -> RingLog:
    return RingLog(max_lines=50)


@pytest.fixture(scope="module")
def app(book):
    gate = Gate(admin_token=TOKEN)
    return create_api(ModelDirectory([], aliases={}), ApiSettings(ping_seconds=0.1), gate=gate, logbook=book)


@pytest.fixture(scope="module")
def url(app, run_app):
    with run_app(app) as url:
        yield f"{url}/admin/v1/logs"


@pytest.fixture
async def client():
    async with httpx2.AsyncClient(headers=HEADERS, timeout=20) as client:
        yield client


def write(book: RingLog, event: str, level: str = "info") -> None:
    book.emit(
        logging.makeLogRecord(
            {"msg": json.dumps({"timestamp": "2026-11-30T16:00:00Z", "level": level, "event": event})}
        )
    )


async def read(events, count: int) -> list[tuple[str, str]]:
    """(name, data) of so many events."""
    found, name = [], ""
    async for line in events:
        kind, _, value = line.partition(": ")
        if kind == "event":
            name = value
        elif kind == "data":
            found.append((name, value))
        if len(found) == count:
            break
    return found


async def test_a_page_and_the_one_before(client, url, book):
    for number in range(5):
        write(book, f"e{number}", "error" if number % 2 else "info")
    page = (await client.get(url, params={"limit": 2})).json()
    assert [line["event"] for line in page["data"]] == ["e3", "e4"]
    assert page["data"][0] | {"cursor": ""} == {
        "time": 1796054400.0,
        "level": "error",
        "event": "e3",
        "fields": {},
        "cursor": "",
    }
    older = (await client.get(url, params={"limit": 2, "before": page["before"]})).json()
    assert [line["event"] for line in older["data"]] == ["e1", "e2"]
    some = (await client.get(url, params={"level": "error", "contains": "E1"})).json()
    assert [line["event"] for line in some["data"]] == ["e1"]


async def test_followed_and_taken_up_again(client, url, book):
    write(book, "before")
    async with client.stream("GET", url, params={"follow": "true", "level": "warning"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = stream.aiter_lines()
        write(book, "unwanted")
        write(book, "first", "error")
        write(book, "second", "error")
        (one, two) = await read(events, 2)
    assert [(name, json.loads(data)["event"]) for name, data in (one, two)] == [("log", "first"), ("log", "second")]
    again = {"Last-Event-ID": json.loads(two[1])["cursor"]}
    async with client.stream("GET", url, params={"follow": "true"}, headers=again) as stream:
        ((_, data),) = await read(stream.aiter_lines(), 1)
    assert json.loads(data)["event"] == "second"


async def test_who_falls_behind_is_told(client, url, book):
    end = (await client.get(url, params={"limit": 1})).json()["end"]
    for number in range(60):
        write(book, f"n{number}")
    async with client.stream("GET", url, params={"follow": "true", "after": end}) as stream:
        found = await read(stream.aiter_lines(), 51)
    assert found[0][0] == "gap"
    assert [json.loads(data)["event"] for _, data in found[1:]] == [f"n{number}" for number in range(10, 60)]


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"level": "loud"}, "level"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"contains": "x" * 201}, "contains"),
        ({"before": "nowhere"}, "cursor"),
        ({"after": "a-1"}, "after"),
        ({"follow": "true", "after": "nowhere"}, "cursor"),
        ({"follow": "true", "limit": "1"}, "limit"),
        ({"follow": "maybe"}, "follow"),
    ],
)
async def test_what_cannot_be_meant(client, url, params, param):
    reply = await client.get(url, params=params)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_for_administrators_alone(url):
    async with httpx2.AsyncClient() as client:
        assert (await client.get(url)).status_code == 403


async def test_so_many_streams_and_no_more(client, url, app):
    watchers = app.state["services"].watchers
    for _ in range(MAX_WATCHERS):
        watchers.enter()
    try:
        reply = await client.get(url, params={"follow": "true"})
        assert reply.status_code in (429, 503)
    finally:
        for _ in range(MAX_WATCHERS):
            watchers.leave()


async def test_a_server_without_a_log_says_so():
    app = create_api(ModelDirectory([], aliases={}), ApiSettings(), gate=Gate(admin_token=TOKEN))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1:8000") as client:
        assert (await client.get("/admin/v1/logs", headers=HEADERS)).json()["error"]["code"] == "no_log"


async def test_a_server_that_stops_ends_the_stream_at_once(client, book, run_app, monkeypatch):
    """Not after the grace time, which is for answers."""
    app = create_api(
        ModelDirectory([], aliases={}), ApiSettings(grace_seconds=1000), gate=Gate(admin_token=TOKEN), logbook=book
    )
    with run_app(app) as url:
        async with client.stream("GET", f"{url}/admin/v1/logs?follow=true") as stream:
            monkeypatch.setattr(AppStatus, "should_exit", True)
            assert b"".join([part async for part in stream.aiter_bytes()]).strip() == b""
