"""What administrators watch: the overview and its stream, from the same figures as /metrics, and only while watched."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from live_watcher import Watcher
from sse_starlette.sse import AppStatus

from llmos_server.access.gate import Gate
from llmos_server.api.http.following import seconds_to_next
from llmos_server.api.schemas.admin_live import Overview, PageMap
from llmos_server.api.services import STATE_KEY
from llmos_server.api.watchers import MAX_WATCHERS

TOKEN = "llmos-admin-" + "t" * 43
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
WAIT = 10


@pytest.fixture
def api(make_api):
    return make_api(gate=Gate(admin_token=TOKEN))


def live_of(api):
    return api.app.state[STATE_KEY].live


async def overview(api) -> Overview:
    reply = await api.http.get("/admin/v1/overview", headers=ADMIN)
    assert reply.status_code == 200, reply.text
    return msgspec.json.decode(reply.content, type=Overview)


async def test_the_overview_agrees_with_the_metrics(api):
    await api.chat(n=2)
    await api.chat(max_tokens=1, stream=True)
    seen, text = await overview(api), (await api.http.get("/metrics")).text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    [model] = seen.models
    assert (model.name, model.kind, model.state, model.is_default) == ("tiny", "decoder", "ready", True)

    def metric(name: str, labels: str = "") -> float:
        return float(lines[f'llmos:{name}{{{labels}model_name="tiny"}}'])

    assert model.prompt_tokens_total == metric("prompt_tokens_total")
    assert model.generation_tokens_total == metric("generation_tokens_total") == 11
    assert model.requests_total == metric("e2e_request_latency_seconds_count") == 2
    for found, name in ((model.ttft, "time_to_first_token_seconds"), (model.itl, "inter_token_latency_seconds")):
        assert sum(found.counts) == metric(f"{name}_count") > 0
        assert found.sum == metric(f"{name}_sum")
        below = 0
        for bound, count in zip([*found.bounds, "+Inf"], found.counts, strict=True):
            below += count
            assert metric(f"{name}_bucket", f'le="{bound}",') == below
    assert model.num_running == metric("num_requests_running")
    assert model.num_waiting == metric("num_requests_waiting")
    assert model.prefix_hits == metric("prefix_cache_hits_total")
    assert model.num_accepted_tokens == metric("spec_decode_num_accepted_tokens_total")
    pages = model.pages
    for state in ("free", "cached", "used", "shared"):
        value = float(lines[f'llmos:kv_cache_pages{{model_name="tiny",state="{state}"}}'])
        assert getattr(pages, f"num_{state}") == value
    assert pages.num_free + pages.num_cached + pages.num_used + pages.num_shared == pages.num_pages == 8
    assert model.context_length == 400


async def test_before_anything_was_asked(api):
    seen = await overview(api)
    assert seen.num_requests == 0
    assert seen.version == "1.2.3"
    assert seen.started <= seen.time
    assert seen.cpu_seconds > 0
    [model] = seen.models
    assert model.requests_total == 0
    assert sum(model.ttft.counts) == 0


async def test_requests_in_flight_are_counted(api):
    api.generator.gate = asyncio.Event()
    asked = [asyncio.create_task(api.chat()) for _ in range(3)]
    async with asyncio.timeout(WAIT):
        while len(api.generator.generations) < 3:
            await asyncio.sleep(0.001)
    assert (await overview(api)).num_requests == 3
    api.generator.gate.set()
    await asyncio.gather(*asked)
    assert (await overview(api)).num_requests == 0


async def test_the_fleets_models(house):
    assert await house.text("gpt")
    seen = msgspec.json.decode((await house.http.get("/admin/v1/overview")).content, type=Overview)
    first, second = seen.models
    assert (first.name, first.state, first.num_loads, first.pid) == (house.a, "ready", 1, 1)
    assert first.num_bytes == seen.used_bytes == seen.budget_bytes / 2
    assert first.last_used is not None
    assert (second.name, second.state, second.pages, second.pid) == (house.b, "unloaded", None, None)


@pytest.mark.parametrize("path", ["/admin/v1/overview", "/admin/v1/live"])
async def test_only_administrators(api, path):
    assert (await api.http.get(path)).status_code == 403


@pytest.mark.parametrize("interval", ["0.05", "61", "nan", "soon", ""])
async def test_an_interval_that_cannot_be(api, interval):
    reply = await api.http.get(f"/admin/v1/live?interval={interval}", headers=ADMIN)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "interval"


async def test_the_stream_tells_at_once_and_again(api):
    async with Watcher(api.app, "/admin/v1/live?interval=0.1", TOKEN) as watcher:
        events = await watcher.events(2)
    assert [name for name, _ in events] == ["overview", "overview"]
    assert events[0][1]["models"][0]["name"] == "tiny"
    assert events[0][1]["time"] < events[1][1]["time"]


async def test_watchers_share_samples_and_nobody_watching_costs_nothing(api):
    sampler = live_of(api).overview
    await api.chat()
    assert sampler.num_taken == 0
    watchers = [Watcher(api.app, "/admin/v1/live?interval=0.1", TOKEN) for _ in range(5)]
    for watcher in watchers:
        await watcher.__aenter__()
    for watcher in watchers:
        assert len(await watcher.events(3)) == 3
    for watcher in watchers:
        await watcher.__aexit__()
    most = max(watcher.text.count("\n\n") for watcher in watchers)
    assert sampler.num_taken <= most + 2 < 5 * 3
    num_taken = sampler.num_taken
    await api.chat()
    await asyncio.sleep(0.25)
    assert sampler.num_taken == num_taken


async def test_watchers_are_bounded(api):
    watchers = api.app.state[STATE_KEY].watchers
    for _ in range(MAX_WATCHERS):
        watchers.enter()
    reply = await api.http.get("/admin/v1/live", headers=ADMIN)
    assert (reply.status_code, reply.json()["error"]["code"]) == (429, "queue_full")
    watchers.leave()
    async with Watcher(api.app, "/admin/v1/live", TOKEN) as watcher:
        assert await watcher.events(1)
    async with Watcher(api.app, "/admin/v1/live", TOKEN) as watcher:  # The one before has given its place back.
        assert await watcher.events(1)


async def test_a_failure_ends_the_stream_with_an_error(api, monkeypatch):
    def fail():
        raise ValueError("secret")

    monkeypatch.setattr(live_of(api).overviews, "make", fail)
    async with Watcher(api.app, "/admin/v1/live", TOKEN) as watcher:
        [(name, data)] = await watcher.events(1)
    assert name == "error"
    assert data["error"]["code"] == "internal_error"
    assert "secret" not in watcher.text


async def test_pages_are_mapped_only_when_asked_for(api):
    await api.chat()
    await overview(api)
    assert api.generator.num_maps == 0
    for url in ("/admin/v1/models/pages", "/admin/v1/models/pages?model=gpt-4o-mini"):
        reply = await api.http.get(url, headers=ADMIN)
        seen = msgspec.json.decode(reply.content, type=PageMap)
        assert (seen.model, seen.state, seen.page_size, seen.num_pages) == ("tiny", "ready", 16, 8)
        assert seen.map == "..ccccus"
    async with Watcher(api.app, "/admin/v1/models/pages?follow=true&interval=0.1&model=tiny", TOKEN) as watcher:
        assert [(name, data["map"]) for name, data in await watcher.events(2)] == [("pages", "..ccccus")] * 2
    num_maps = api.generator.num_maps
    await asyncio.sleep(0.25)
    assert api.generator.num_maps == num_maps


async def test_pages_of_what_has_none(house, make_api, fakes):
    url = "/admin/v1/models/pages"
    seen = (await house.http.get(url)).json()
    assert (seen["state"], seen["num_pages"], seen["map"]) == ("unloaded", 0, "")
    assert await house.text("gpt")
    assert (await house.http.get(url)).json()["map"] == "..ccccus"
    assert (await house.http.get(f"{url}?model=none")).status_code == 404
    other = make_api(encoder=fakes.ScriptedEncoder(), gate=Gate(admin_token=TOKEN))
    assert (await other.http.get(f"{url}?model=small", headers=ADMIN)).status_code == 400
    assert (await other.http.get(url)).status_code == 403


def test_ticks_are_the_same_for_all():
    assert seconds_to_next(0.5, 10.2) == pytest.approx(0.3)
    assert seconds_to_next(0.5, 10.4) == pytest.approx(0.6)  # Not twice in a moment.
    assert seconds_to_next(0.5, 10.5) == pytest.approx(0.5)


async def test_a_server_that_stops_ends_the_stream(api, monkeypatch):
    """At once, and in order: nobody waits for the grace time."""
    async with Watcher(api.app, "/admin/v1/live?interval=60", TOKEN) as watcher:
        await watcher.events(1)
        monkeypatch.setattr(AppStatus, "should_exit", True)
        await asyncio.wait_for(watcher.ended.wait(), WAIT)
        assert not watcher.left.is_set()
    assert watcher.text.count("event: ") == 1
