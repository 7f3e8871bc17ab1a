"""Skills under models' names, as in chat completions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmos_server.access.gate import Gate

USER = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def api(make_api: Any, fakes: Any) -> Any:
    return make_api("Hello", plugins=fakes.create_skills())


@pytest.mark.parametrize("model", ["skill:shout", "skill:shout:latest"])
async def test_a_skill_answers(api: Any, model: str) -> None:
    found = (await api.post("/api/chat", {"model": model, "messages": USER, "stream": False})).json()
    assert (found["message"]["content"], found["done_reason"], found["eval_count"]) == ("HELLO", "stop", 5)
    assert found["total_duration"] > 0
    reply = await api.post("/api/chat", {"model": model, "messages": USER})
    assert reply.headers["content-type"] == "application/x-ndjson"
    *lines, last = [json.loads(line) for line in reply.text.splitlines()]
    assert "".join(line["message"]["content"] for line in lines) == "HELLO"
    assert {name: last[name] for name in ("done", "eval_count")} == {"done": True, "eval_count": 5}
    found = (await api.post("/api/generate", {"model": model, "prompt": "Hi", "stream": False})).json()
    assert found["response"] == "HELLO"


async def test_what_a_skill_does_not_follow_is_told(api: Any) -> None:
    body = {"model": "skill:shout", "messages": [*USER, *USER], "options": {"temperature": 0}, "format": "json"}
    reply = await api.post("/api/chat", {**body, "stream": False})
    assert reply.headers["X-LLMOS-Ignored"] == "format, options, messages[0..0]"


async def test_a_skill_has_nothing_to_load(api: Any) -> None:
    for path in ("/api/chat", "/api/generate"):
        assert (await api.post(path, {"model": "skill:shout"})).json()["done_reason"] == "load"
    reply = await api.post("/api/chat", {"model": "skill:none", "messages": USER})
    assert reply.status_code == 404
    assert "shout" in reply.json()["error"]


async def test_a_skill_that_fails_late_is_a_line(api: Any) -> None:
    api.generator.fail_after = 2
    reply = await api.post("/api/chat", {"model": "skill:shout", "messages": USER})
    lines = [json.loads(line) for line in reply.text.splitlines()]
    assert list(lines[-1]) == ["error"]


async def test_skills_are_listed_and_shown(api: Any) -> None:
    models = (await api.http.get("/api/tags")).json()["models"]
    assert [model["model"] for model in models] == ["tiny", "skill:shout"]
    assert {len(model["digest"]) for model in models} == {64}  # `llm` takes models with equal digests for one.
    assert (await api.post("/api/show", {"model": "skill:shout"})).json()["capabilities"] == ["completion"]


async def test_a_key_sees_its_own(make_api: Any, fakes: Any) -> None:
    keys = fakes.MemoryKeys()
    headers = {"authorization": f"Bearer {keys.add(skills=())}"}
    api = make_api("Hello", plugins=fakes.create_skills(), gate=Gate(keys))
    found = (await api.http.get("/api/tags", headers=headers)).json()["models"]
    assert [model["model"] for model in found] == ["tiny"]
    reply = await api.post("/api/chat", {"model": "skill:shout", "messages": USER}, headers=headers)
    assert reply.status_code == 403
