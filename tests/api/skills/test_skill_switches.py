"""Skills that an administrator disables, and what is told of their runs."""

from __future__ import annotations

from typing import Any

import pytest
from migrated import migrate

from llmos_server.access.gate import Gate
from llmos_server.api.skill_history import SkillHistory
from llmos_server.skill_contracts import SkillScore
from llmos_server.store.database import Database
from llmos_server.store.store import Store

TOKEN = "llmos-admin-" + "t" * 43
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
HELLO = [{"role": "user", "content": "Hi"}]
TOOL = [{"type": "skill", "name": "echo"}]
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "x"}}}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}

WAYS: list[tuple[str, str, Any]] = [
    ("POST", "/v1/skills/echo/run", {"text": "x"}),
    ("POST", "/v1/skills/echo/run", {"text": "x", "stream": True}),
    ("GET", "/v1/llmos/skills/echo", None),
    ("GET", "/v1/llmos/skills/echo/scores", None),
    ("GET", "/v1/models/skill:echo", None),
    ("POST", "/v1/chat/completions", {"model": "skill:echo", "messages": HELLO}),
    ("POST", "/v1/chat/completions", {"model": "skill:echo", "messages": HELLO, "stream": True}),
    ("POST", "/v1/chat/completions", {"model": "tiny", "messages": HELLO, "tools": TOOL}),
    ("POST", "/v1/responses", {"model": "tiny", "input": "Hi", "tools": TOOL}),
    ("POST", "/v1/messages", {"model": "skill:echo", "messages": HELLO, "max_tokens": 50}),
    ("POST", "/api/chat", {"model": "skill:echo", "messages": HELLO}),
    ("POST", "/api/chat", {"model": "skill:echo:latest", "messages": HELLO, "stream": False}),
    ("POST", "/api/generate", {"model": "skill:echo", "prompt": "Hi"}),
    ("POST", "/api/show", {"model": "skill:echo"}),
    ("POST", "/mcp", CALL),
]
"""All that reach a skill."""

LISTS = [
    ("GET", "/v1/llmos/skills", None),
    ("GET", "/v1/models", None),
    ("GET", "/api/tags", None),
    ("POST", "/mcp", LIST),
]


@pytest.fixture
async def server(make_api, host, tmp_path):
    store = Store(Database(tmp_path))
    await migrate(store.database)
    api = make_api(plugins=host, store=store, gate=Gate(admin_token=TOKEN), max_model_len=4000)
    api.store = store
    yield api
    await store.close()


async def ask(server: Any, method: str, path: str, body: Any) -> Any:
    headers = {**ADMIN, "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
    return await server.http.request(method, path, json=body, headers=headers)


async def switch(server: Any, verb: str, name: str = "echo", headers: Any = ADMIN) -> Any:
    return await server.http.post(f"/admin/v1/skills/{name}/{verb}", headers=headers)


async def test_a_disabled_skill_can_be_reached_in_no_way(server):
    for way in WAYS:
        before = await ask(server, *way)
        assert before.status_code == 200, (way, before.text)
        assert "disabled by" not in before.text
    disabled = (await switch(server, "disable")).json()
    assert (disabled["name"], disabled["enabled"]) == ("echo", False)
    for method, path, body in WAYS:
        refused = await ask(server, method, path, body)
        assert "disabled by this server's administrator" in refused.text, path
        if path != "/mcp":
            assert refused.status_code == 403, path
        if path.startswith("/v1") and path != "/v1/messages":
            assert refused.json()["error"]["code"] == "skill_disabled"
    assert (await switch(server, "enable")).json()["enabled"] is True
    for way in WAYS:
        assert (await ask(server, *way)).status_code == 200


async def test_a_disabled_skill_is_in_no_list(server):
    for way in LISTS:
        assert "echo" in (await ask(server, *way)).text
    await switch(server, "disable")
    for way in LISTS:
        text = (await ask(server, *way)).text
        assert "echo" not in text
        assert "odd" in text


async def test_a_restart_and_other_servers_see_it(server, tmp_path):
    """Another server on the same database disables it: runs are refused at once, lists follow."""
    other = Store(Database(tmp_path))
    await other.skill_switches.disable("echo")
    assert "echo" in (await ask(server, *LISTS[0])).text
    refused = await ask(server, *WAYS[0])
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "skill_disabled")
    assert "echo" not in (await ask(server, *LISTS[0])).text
    restarted = Store(Database(tmp_path))
    await restarted.serve()
    assert restarted.skill_switches.was_disabled("echo")
    await other.skill_switches.enable("echo")
    await restarted.skill_switches.refresh()
    assert not restarted.skill_switches.was_disabled("echo")
    for store in (other, restarted):
        await store.close()


async def test_the_list_tells_runs_scores_and_errors(server):
    await ask(server, "POST", "/v1/skills/echo/run", {"text": "x"})
    for text in ("raise", "wrong"):
        await ask(server, "POST", "/v1/skills/odd/run", {"text": text})
    for number, model in enumerate(("a", "a", "b")):
        await server.store.skill_scores.add(
            SkillScore(
                skill="odd",
                version="1",
                model=model,
                model_digest="d",
                metric="m",
                score=number,
                figures={"m": number},
                num_cases=1,
                num_failed=0,
                created=number,
            )
        )
    await switch(server, "disable")
    rows = {row["name"]: row for row in (await ask(server, "GET", "/admin/v1/skills", None)).json()["data"]}
    echo, odd = rows["echo"], rows["odd"]
    assert (echo["enabled"], echo["runs"], echo["failures"], echo["last_errors"]) == (False, 1, 0, [])
    assert echo["input_schema"]["required"] == ["text"]
    assert (odd["enabled"], odd["runs"], odd["failures"], odd["is_switched_off"]) == (True, 2, 2, False)
    assert [(score["model"], score["score"]) for score in odd["scores"]] == [("b", 2), ("a", 1)]
    wrong, raised = odd["last_errors"]
    assert (wrong["kind"], raised["kind"], raised["type"]) == ("invalid", "raised", "ValueError")
    assert raised["text"].startswith("failed (")
    assert "trial.py:" in raised["text"]
    assert raised["request_id"].startswith("req_")
    assert "secret" not in str(rows)


def test_errors_are_bounded():
    history = SkillHistory(clock=lambda: 7.0)
    for number in range(25):
        history.fail("odd", "timeout", TimeoutError("a secret"), f"r{number}")
    told = history.last_errors("odd")
    assert [error.request_id for error in told] == [f"r{number}" for number in range(24, 4, -1)]
    assert (told[0].time, told[0].text, told[0].type) == (7.0, "took longer than it may", "TimeoutError")
    assert history.failures["odd"] == 25
    assert history.last_errors("even") == []


@pytest.mark.parametrize("verb", ["disable", "enable"])
async def test_for_administrators_and_skills_that_there_are(server, verb):
    assert (await switch(server, verb, headers={})).status_code == 403
    missing = await switch(server, verb, name="none")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "skill_not_found")


async def test_without_a_database_nothing_can_be_kept(make_api, host):
    api = make_api(plugins=host, gate=Gate(admin_token=TOKEN))
    assert (await switch(api, "disable")).status_code == 503
    assert (await ask(api, *WAYS[0])).status_code == 200
    assert (await ask(api, "GET", "/admin/v1/skills", None)).json()["data"][0]["enabled"] is True
