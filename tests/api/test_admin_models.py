"""What was pulled is served, and what an administrator does with it: a real registry, fake workers."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any, TypeAlias

import pytest

from llmos_server.engine.footprint import Footprint

House: TypeAlias = Any
"""tests/api/house.py's."""

SIZE = Footprint(weights=0, cache=0).total
WAIT = 20


async def test_whatever_was_pulled_is_served_by_its_name_and_loaded_when_asked(house: House) -> None:
    assert [model["id"] for model in (await house.http.get("/v1/models")).json()["data"]] == [house.a, house.b]
    assert (await house.http.get("/v1/models")).json()["data"][0]["state"] == "unloaded"
    assert house.workers == []
    digests = {version.name: version.digest for version in house.registry.list()}
    assert await house.text(house.b) == digests[house.b]
    assert await house.text() == await house.text("gpt") == digests[house.a]
    assert len(house.workers) == 2
    metrics = (await house.http.get("/metrics")).text
    assert f'llmos:models_loaded{{model_name="{house.a}"}} 1.0' in metrics
    used = next(line for line in metrics.splitlines() if line.startswith("llmos:memory_used_bytes "))
    assert float(used.split()[1]) == 2 * SIZE


async def test_a_model_pulled_or_removed_by_another_process_is_noticed(house: House) -> None:
    c = house.pull("c", 2.0)
    assert c in [model["id"] for model in (await house.http.get("/v1/models")).json()["data"]]
    d = house.pull("d", 3.0)
    assert await house.text(d)
    house.registry.remove(d)
    reply = await house.ask(d)
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
    assert house.b in reply.json()["error"]["message"]
    house.registry.remove(c)
    assert c not in [model["id"] for model in (await house.http.get("/v1/models")).json()["data"]]


async def test_a_name_pulled_anew_changes_hands_between_two_requests(house: House) -> None:
    house.gate = asyncio.Event()
    running = asyncio.create_task(house.text(house.a))
    async with asyncio.timeout(WAIT):
        while not (house.workers and house.workers[0].generations):
            await asyncio.sleep(0.001)
    first = house.registry.get(house.a).digest
    gate, house.gate = house.gate, None
    house.pull("a", 7.0)
    second = house.registry.get(house.a).digest
    assert await house.text(house.a) == second != first
    gate.set()
    assert await running == first


async def test_a_broken_folder_fails_alone_and_by_name(house: House) -> None:
    house.broken = {house.registry.get(house.b).folder}
    reply = await house.ask(house.b)
    assert reply.status_code == 503
    assert "tokenizer.json" in reply.json()["error"]["message"]
    assert house.b in reply.json()["error"]["message"]
    assert await house.text(house.a)
    assert (await house.http.get("/v1/models")).status_code == 200


async def test_administrators_load_and_unload(house: House) -> None:
    reply = await house.http.post("/admin/v1/models/load", json={"model": "gpt"})
    assert (reply.json()["version"]["name"], reply.json()["status"]["state"]) == (house.a, "ready")
    listed = (await house.http.get("/admin/v1/models")).json()
    assert (listed["budget_bytes"], listed["used_bytes"]) == (2 * SIZE, SIZE)
    assert (await house.status(house.b))["state"] == "unloaded"
    reply = await house.http.post("/admin/v1/models/unload", json={"model": house.a})
    assert reply.json()["status"]["state"] == "unloaded"
    assert (await house.status(house.a))["num_evictions"] == 1
    assert (await house.http.post("/admin/v1/models/load", json={"model": "none"})).status_code == 404
    assert (await house.http.post("/admin/v1/models/load", json={})).status_code == 400


async def test_administrators_pull_and_remove(house: House) -> None:
    house.files.write_gguf(house.folder / "new.gguf")
    name = f"file:{house.folder}/new.gguf"
    reply = await house.http.post("/admin/v1/models/pull", json={"model": name})
    *events, done = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
    assert done == "[DONE]"
    assert json.loads(events[-1])["model"]["name"] == name
    assert any("done" in json.loads(event) for event in events[:-1])
    assert await house.text(name)
    for path in (name, name.replace("/", "%2F")):
        reply = await house.http.delete(f"/admin/v1/models/{path}")
        if path == name:
            assert reply.json()["deleted"] is True
            assert (house.folder / "new.gguf").exists()
            assert (await house.ask(name)).status_code == 404
    assert reply.status_code == 404


async def test_a_pull_that_fails_ends_with_an_error_event(house: House) -> None:
    reply = await house.http.post("/admin/v1/models/pull", json={"model": "file:/nowhere/x.gguf"})
    assert "/nowhere/x.gguf" in json.loads(reply.text.splitlines()[-2][6:])["error"]["message"]
    assert "[DONE]" not in reply.text
    reply = await house.http.post("/admin/v1/models/pull", json={"model": "what is this"})
    assert reply.status_code == 400


async def test_two_who_pull_one_name_hear_of_one_pull(house: House) -> None:
    started: list[str] = []
    both_listen = threading.Event()
    pull = house.registry.pull

    def note(name: str, progress: Any) -> Any:
        started.append(name)
        both_listen.wait(WAIT)
        return pull(name, progress)

    house.registry.pull = note  # type: ignore[method-assign]
    asked = [asyncio.create_task(house.http.post("/admin/v1/models/pull", json={"model": house.a})) for _ in range(2)]
    async with asyncio.timeout(WAIT):
        while sum(len(running.listeners) for running in house.admin.pulls._running.values()) < 2:
            await asyncio.sleep(0.001)
    both_listen.set()
    replies = await asyncio.wait_for(asyncio.gather(*asked), WAIT)
    assert started == [house.a]
    assert all("[DONE]" in reply.text for reply in replies)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        *(("POST", f"/{verb}") for verb in ("load", "unload", "pull", "pin", "unpin", "preview", "attention")),
        ("GET", "/structure"),
        ("GET", "/template"),
        ("DELETE", "/file:/a"),
    ],
)
async def test_all_of_it_is_closed_to_others(house: House, method: str, path: str) -> None:
    body = {"model": house.a} if method == "POST" else None
    reply = await house.http.request(method, f"/admin/v1/models{path}", json=body, headers={"Authorization": ""})
    assert reply.status_code == 403
    assert house.workers == []


async def test_the_version_tells_whose_home_it_is(house: House) -> None:
    assert (await house.http.get("/version")).json()["home_id"] == "cafe"
