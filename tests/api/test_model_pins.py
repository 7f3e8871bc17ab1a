"""Pins over HTTP, and what a list of models tells: a real registry, fake workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmos_server.api.pins import Pins


async def row(house: Any, name: str) -> dict[str, Any]:
    rows = (await house.http.get("/admin/v1/models")).json()["data"]
    return next(row for row in rows if row["id"] == name)


async def test_a_row_tells_what_lists_show(house: Any) -> None:
    found = await row(house, house.a)
    version = house.registry.get(house.a)
    assert found["aliases"] == ["gpt"]
    assert found["capabilities"] == (await house.http.get("/v1/models")).json()["data"][0]["capabilities"]
    assert (found["quantization"], found["quantization_at_load"]) == ("F32", "none")
    assert (found["num_parameters"], found["size_bytes"]) == (version.num_parameters, version.size_bytes)
    assert found["context_length"] == version.context_length
    assert (found["state"], found["is_default"], found["is_pinned"], found["pinned_by"]) == (
        "unloaded",
        True,
        False,
        None,
    )
    assert (await row(house, house.b))["is_default"] is False


async def test_what_a_template_lets_a_model_do_is_told_without_loading_its_tokenizer(house: Any) -> None:
    found = {}
    for name, template in (("r", "{{ messages }}<think></think>"), ("p", None)):
        house.files.write_gguf(house.folder / f"{name}.gguf", metadata={"tokenizer.chat_template": template})
        version = house.registry.pull(f"file:{house.folder}/{name}.gguf", house.files.RecordingProgress())
        house.broken.add(version.folder)  # Its tokenizer can't be loaded.
        found[name] = set((await row(house, version.name))["capabilities"])
    assert {"chat", "tools", "reasoning", "completions"} <= found["r"]
    assert not {"chat", "tools", "reasoning"} & found["p"]


async def test_a_pinned_model_is_not_evicted_and_an_unpinned_one_is(make_house: Callable[..., Any]) -> None:
    house = make_house(budget=1)
    assert await house.text(house.a)
    reply = await house.http.post("/admin/v1/models/pin", json={"model": "gpt"})
    assert (reply.json()["id"], reply.json()["is_pinned"], reply.json()["pinned_by"]) == (
        house.a,
        True,
        "administrator",
    )
    refused = (await house.ask(house.b)).json()["error"]
    assert (refused["code"], refused["param"]) == ("model_too_large", "model")
    reply = await house.http.post("/admin/v1/models/unpin", json={"model": house.a})
    assert (reply.json()["is_pinned"], reply.json()["pinned_by"]) == (False, None)
    assert await house.text(house.b)
    assert (await row(house, house.a))["state"] == "unloaded"


async def test_pins_are_kept_over_restarts_and_go_with_their_model(house: Any, make_house: Callable[..., Any]) -> None:
    for name in (house.a, house.b):
        assert (await house.http.post("/admin/v1/models/pin", json={"model": name})).status_code == 200
    assert (await house.http.delete(f"/admin/v1/models/{house.b}")).status_code == 200
    assert await house.pinned.list() == [house.a]
    assert (await row(house, house.pull("b")))["is_pinned"] is False
    house.fleet.pin(house.a, is_pinned=False)
    await Pins(house.fleet, house.pinned).restore()
    assert (await row(house, house.a))["is_pinned"] is True


async def test_a_pin_that_cant_be_taken_back_holds_and_keeps_no_model_from_being_removed(house: Any) -> None:
    await house.http.post("/admin/v1/models/pin", json={"model": house.a})
    house.pinned.is_broken = True
    reply = await house.http.post("/admin/v1/models/unpin", json={"model": house.a})
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "database_unavailable")
    assert (await row(house, house.a))["is_pinned"] is True
    assert (await house.http.delete(f"/admin/v1/models/{house.a}")).status_code == 200


async def test_what_the_settings_pin_stays_pinned(make_house: Callable[..., Any]) -> None:
    house = make_house(pinned=("a",))
    assert (await row(house, house.a))["pinned_by"] == "settings"
    assert (await house.http.post("/admin/v1/models/pin", json={"model": house.a})).status_code == 200
    reply = await house.http.post("/admin/v1/models/unpin", json={"model": house.a})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "pinned_by_settings")
    assert "models.pinned" in reply.json()["error"]["message"]
    assert (await row(house, house.a))["is_pinned"] is True


async def test_what_isnt_there_cant_be_pinned(house: Any) -> None:
    for verb in ("pin", "unpin"):
        reply = await house.http.post(f"/admin/v1/models/{verb}", json={"model": "none"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
