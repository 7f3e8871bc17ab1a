"""What is there and what is loaded, pulls and removals; and the answers at / and of what isn't served."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

import pytest

from llmos_server.access.gate import Gate

WAIT = 20


async def tags(house: Any, **options: Any) -> dict[str, Any]:
    models = (await house.http.get("/api/tags", **options)).json()["models"]
    return {model["model"]: model for model in models}


async def test_programs_and_people_ask_whether_it_runs(api: Any) -> None:
    reply = await api.http.get("/")
    assert (reply.status_code, reply.text) == (200, "Ollama is running")
    assert (await api.http.head("/")).status_code == 200
    page = await api.http.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.text.startswith("LLMOS is running.")


async def test_the_version_is_one_that_clients_can_compare(api: Any) -> None:
    found = (await api.http.get("/api/version")).json()
    assert found["llmos"] == "1.2.3"
    assert tuple(map(int, found["version"].split("."))) >= (0, 13, 4), "Codex wants it, for its Responses API"


async def test_models_are_described(house: Any) -> None:
    found = await tags(house)
    assert list(found) == [house.a, house.b]
    version = house.registry.get(house.a)
    model = found[house.a]
    assert model["name"] == house.a
    assert model["size"] == version.size_bytes
    assert f"sha256:{model['digest']}" == version.digest
    assert datetime.fromisoformat(model["modified_at"]).timestamp() == version.created
    assert model["details"]["format"] == "gguf"
    assert model["details"]["family"] == "llama"
    assert model["details"]["families"] == ["llama"]
    assert model["details"]["quantization_level"] in version.elements
    assert model["details"]["parameter_size"]


async def test_one_model_is_shown(house: Any) -> None:
    for body in ({"model": "gpt"}, {"name": house.a}, {"model": f"{house.a}:latest", "verbose": False}):
        found = (await house.http.post("/api/show", json=body)).json()
        assert found["modelfile"] == f"FROM {house.a}\n"
        info = found["model_info"]
        assert info["general.architecture"] == "llama"
        assert info["llama.context_length"] == house.registry.get(house.a).context_length
        assert info["llama.block_count"] >= 1
        assert "completion" in found["capabilities"]
    assert (await house.http.post("/api/show", json={"model": "nobody"})).status_code == 404
    assert (await house.http.post("/api/show", json={})).json() == {"error": "model is missing."}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, ["completion", "tools"]),
        ({"has_template": False}, ["completion"]),
        ({"template": "<think></think>"}, ["completion", "tools", "thinking"]),
    ],
)
async def test_capabilities(make_api: Any, fakes: Any, options: dict[str, Any], found: list[str]) -> None:
    api = make_api(
        renderer=fakes.ByteRenderer(**options),
        encoder=fakes.ScriptedEncoder(),
        classifier=fakes.ScriptedClassifier("a"),
    )
    shown = {
        name: (await api.post("/api/show", {"model": name})).json()["capabilities"]
        for name in ("tiny", "small", "kinds")
    }
    assert shown == {"tiny": found, "small": ["embedding"], "kinds": []}


async def test_what_is_loaded_is_listed(house: Any) -> None:
    assert (await house.http.get("/api/ps")).json() == {"models": []}
    await house.text(house.a)
    [model] = (await house.http.get("/api/ps")).json()["models"]
    assert model["model"] == house.a
    assert model["size"] > 0
    assert model["size_vram"] == 0
    assert model["context_length"] == 400
    assert datetime.fromisoformat(model["expires_at"]).year > 2200


async def test_an_idle_model_expires_when_the_setting_says_so(make_house: Any) -> None:
    house = make_house(idle_seconds=600)
    await house.text(house.a)
    [model] = (await house.http.get("/api/ps")).json()["models"]
    last_used = (await house.status(house.a))["last_used"]
    assert datetime.fromisoformat(model["expires_at"]).timestamp() == pytest.approx(last_used + 600, abs=1)


async def test_an_empty_request_loads_and_keep_alive_0_unloads(house: Any) -> None:
    async def generate(**fields: Any) -> Any:
        return (await house.http.post("/api/generate", json={"model": house.a, "stream": False, **fields})).json()

    assert (await generate())["done_reason"] == "load"
    assert (await house.status(house.a))["state"] == "ready"
    for keep_alive in (0, "0", "0s", 0.0, "-0.0", "0h0m"):
        assert (await generate(keep_alive=keep_alive))["done_reason"] == "unload"
        assert (await house.status(house.a))["state"] == "unloaded"
    for stream in (False, True):
        body = {"model": house.a, "prompt": "x", "options": {"num_predict": 2}, "keep_alive": 0, "stream": stream}
        reply = await house.http.post("/api/generate", json=body)
        assert reply.status_code == 200
        assert "X-LLMOS-Ignored" not in reply.headers
        async with asyncio.timeout(WAIT):
            while (await house.status(house.a))["state"] != "unloaded":
                await asyncio.sleep(0.01)


async def test_only_administrators_unload_pull_and_delete(house: Any) -> None:
    house.http.headers.pop("authorization")
    await house.http.post("/api/generate", json={"model": house.a})
    body = {"model": house.a, "stream": False}
    for method, path in (("POST", "/api/pull"), ("DELETE", "/api/delete"), ("POST", "/api/generate")):
        reply = await house.http.request(method, path, json={**body, "keep_alive": 0})
        assert reply.status_code == 403, path
        assert "admin" in reply.json()["error"]
    reply = await house.http.post("/api/generate", json={**body, "prompt": "x", "keep_alive": 0})
    assert (reply.status_code, reply.headers["X-LLMOS-Ignored"]) == (200, "keep_alive")
    assert house.fleet.status().models[0].state == "ready"


async def test_pull_and_delete(house: Any) -> None:
    house.files.write_gguf(house.folder / "new.gguf")
    name = f"file:{house.folder}/new.gguf"
    reply = await house.http.post("/api/pull", json={"model": name, "insecure": True})
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert "X-LLMOS-Ignored" not in reply.headers
    lines = [json.loads(line) for line in reply.text.splitlines()]
    assert all(line["status"] for line in lines)
    assert lines[-1] == {"status": "success"}
    assert name in await tags(house)
    assert (await house.http.post("/api/pull", json={"name": name, "stream": False})).json() == {"status": "success"}
    reply = await house.http.request("DELETE", "/api/delete", json={"model": name})
    assert (reply.status_code, reply.content) == (200, b"")
    assert name not in await tags(house)
    reply = await house.http.request("DELETE", "/api/delete", json={"model": name})
    assert reply.status_code == 404
    assert isinstance(reply.json()["error"], str)


async def test_a_pull_that_fails(house: Any) -> None:
    name = f"file:{house.folder}/nothing.gguf"
    reply = await house.http.post("/api/pull", json={"model": name})
    assert (reply.status_code, list(json.loads(reply.text.splitlines()[-1]))) == (200, ["error"])
    reply = await house.http.post("/api/pull", json={"model": name, "stream": False})
    assert reply.status_code >= 400
    assert isinstance(reply.json()["error"], str)
    assert (await house.http.post("/api/pull", json={"model": "what is this?"})).status_code == 400


def test_progress_of_a_transfer_is_told_as_ollama_does() -> None:
    """Its clients draw a bar for each digest."""
    from llmos_server.api.ollama.pull import write_event
    from llmos_server.api.schemas.admin_models import PullEvent

    told = json.loads(write_event(PullEvent(label="a.gguf", done=5, total=9)))
    assert told == {"status": "pulling a.gguf", "digest": "a.gguf", "total": 9, "completed": 5}
    assert json.loads(write_event(PullEvent(text="Checking"))) == {"status": "Checking"}


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "/api/create", "llmos pull file:/path"),
        ("POST", "/api/copy", "models.aliases"),
        ("POST", "/api/push", "hub"),
        ("POST", "/api/blobs/sha256:ab", "llmos pull file:/path"),
        ("GET", "/api/unheard", "Of Ollama's API there are"),
    ],
)
async def test_what_is_not_served_says_what_to_do(api: Any, method: str, path: str, words: str) -> None:
    reply = await api.http.request(method, path, json={} if method == "POST" else None)
    assert reply.status_code == 404
    assert words in reply.json()["error"]


async def test_every_error_is_a_text(api: Any) -> None:
    for content in (b"", b"{", b"[]", b"null", b'{"model": 5}', b'{"model": "tiny", "model": "tiny"}', b"\xff"):
        reply = await api.http.post("/api/chat", content=content)
        assert reply.status_code == 400
        [(name, text)] = reply.json().items()
        assert name == "error"
        assert isinstance(text, str)
    assert isinstance((await api.http.get("/api/chat")).json()["error"], str)


async def test_what_is_refused_before_it_is_read_is_a_text_too(api: Any) -> None:
    """Browser extensions for Ollama meet this one first."""
    reply = await api.http.get("/api/tags", headers={"origin": "chrome-extension://abc"})
    assert reply.status_code == 403
    assert "api.cors_origins" in reply.json()["error"]
    assert (await api.http.get("/v1/models", headers={"origin": "null"})).json()["error"]["code"] == "origin_refused"


async def test_the_gate_is_the_same(make_api: Any, fakes: Any) -> None:
    keys = fakes.MemoryKeys()
    key = keys.add(models=("small",))
    api = make_api(gate=Gate(keys), encoder=fakes.ScriptedEncoder())
    assert (await api.http.get("/")).status_code == 200
    assert (await api.http.get("/api/version")).status_code == 200
    for path in ("/api/tags", "/api/ps"):
        reply = await api.http.get(path)
        assert reply.status_code == 401
        assert isinstance(reply.json()["error"], str)
        reply = await api.http.get(path, headers={"authorization": f"Bearer {key}"})
        assert [model["model"] for model in reply.json()["models"]] == ["small"]
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
    assert (await api.post("/api/chat", body)).status_code == 401
    assert (await api.post("/api/chat", body, headers={"authorization": f"Bearer {key}"})).status_code == 403
