"""Skills that fail, block or are left: named, counted, and nobody else's trouble."""

from __future__ import annotations

import asyncio
import json
import threading

import httpx2
import pytest

from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate
from llmos_server.settings import PluginsSettings


class TestFailures:
    @pytest.mark.parametrize(
        ("text", "kind", "told"),
        [
            ("raise", "raised", "failed (ValueError)"),
            ("exit", "raised", "failed (RuntimeError)"),
            ("misuse", "raised", "failed (MisusedContext)"),
            ("wrong", "invalid", "a EchoOutput instead of a AnyOutput"),
            ("unlike", "invalid", "doesn't begin with what it has written"),
        ],
    )
    async def test_a_skill_that_fails_is_named_and_counted(self, api, host, text, kind, told):
        reply = await api.post("/v1/skills/odd/run", {"text": text})
        assert reply.status_code == 500
        error = reply.json()["error"]
        assert error["code"] == "plugin_failed"
        assert "The skill odd of the plugin trial" in error["message"]
        assert told in error["message"]
        assert "secret" not in error["message"]
        assert host.failures.counts == {("trial", "register_skills", kind): 1}
        exposed = (await api.http.get("/metrics")).text
        labels = f'hook="register_skills",kind="{kind}",plugin="trial"'
        assert f"llmos:plugin_failures_total{{{labels}}} 1.0" in exposed
        assert api.generator.num_holds == 0

    async def test_a_failure_within_a_stream_ends_it_with_an_error(self, api, run_app, monkeypatch, trial):
        monkeypatch.setattr(trial.Odd, "gate", gate := threading.Event())
        text = ""
        with run_app(api.app) as url:
            body = {"text": "later", "stream": True}
            address = url + "/v1/skills/odd/run"
            async with httpx2.AsyncClient() as client, client.stream("POST", address, json=body) as reply:
                assert reply.status_code == 200
                async for piece in reply.aiter_text():
                    text += piece
                    gate.set()
        streamed = trial.events(text)
        assert [kind for kind, _ in streamed] == ["text", "error"]
        assert streamed[-1][1]["error"]["code"] == "plugin_failed"

    async def test_failing_runs_dont_switch_a_skill_off(self, api):
        for _ in range(5):
            assert (await api.post("/v1/skills/odd/run", {"text": "raise"})).status_code == 500
        assert (await api.post("/v1/skills/odd/run", {"text": "x"})).status_code == 200

    async def test_a_skill_that_blocks_holds_up_nobody_else(self, api, host, monkeypatch, trial):
        monkeypatch.setattr(trial.Odd, "gate", gate := threading.Event())
        monkeypatch.setattr(trial.Odd, "entered", entered := threading.Event())
        blocked = asyncio.create_task(api.post("/v1/skills/odd/run", {"text": "block"}))
        assert await asyncio.to_thread(entered.wait, 60)
        assert (await api.post("/v1/skills/odd/run", {"text": "x"})).status_code == 200
        assert (await api.chat("Hi")).status_code == 200
        assert not blocked.done()
        gate.set()
        assert (await blocked).json()["result"] == "late"

    async def test_one_that_never_ends_is_given_up_counted_and_switched_off(self, api, host, monkeypatch, trial):
        monkeypatch.setattr(trial.Odd, "gate", gate := threading.Event())
        monkeypatch.setattr(trial.Odd, "timeout_seconds", 0.05)
        monkeypatch.setattr("llmos_server.skills.runner.CANCEL_SECONDS", 0.05)
        for _ in range(2):
            reply = await api.post("/v1/skills/odd/run", {"text": "block"})
            assert reply.status_code == 500
            assert "blocks its thread" in reply.json()["error"]["message"]
        assert host.failures.counts["trial", "register_skills", "blocked"] == 2
        reply = await api.post("/v1/skills/odd/run", {"text": "x"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "plugin_failed")
        assert int(reply.headers["Retry-After"]) > 0
        assert host.failures.switched_off("trial") == ["register_skills odd"]
        assert (await api.post("/v1/skills/echo/run", {"text": "x"})).status_code == 200
        gate.set()

    async def test_a_run_whose_time_is_up_is_cancelled_with_what_it_asked(self, api, host, monkeypatch, trial):
        monkeypatch.setattr(trial.Odd, "timeout_seconds", 0.2)
        monkeypatch.setattr(trial.Odd, "cancelled", cancelled := threading.Event())
        api.generator.gate = asyncio.Event()
        reply = await api.post("/v1/skills/odd/run", {"text": "wait"})
        assert reply.status_code == 500
        assert cancelled.is_set()
        assert host.failures.counts["trial", "register_skills", "timeout"] == 1
        assert all(generation.aborted.is_set() for generation in api.generator.generations)

    async def test_only_so_many_run_at_once(self, make_api, monkeypatch, trial):
        host = PluginHost(PluginsSettings(max_runs=1))
        host.add(Candidate(name="trial", source="built-in", load=trial.Plugin), {})
        api = make_api(plugins=host)
        monkeypatch.setattr(trial.Odd, "gate", gate := threading.Event())
        monkeypatch.setattr(trial.Odd, "entered", entered := threading.Event())
        blocked = asyncio.create_task(api.post("/v1/skills/odd/run", {"text": "block"}))
        assert await asyncio.to_thread(entered.wait, 60)
        reply = await api.post("/v1/skills/odd/run", {"text": "x"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "queue_full")
        gate.set()
        assert (await blocked).status_code == 200
        assert (await api.post("/v1/skills/odd/run", {"text": "x"})).status_code == 200


async def test_a_client_that_leaves_ends_the_run(run_app, make_api, host, monkeypatch, trial):
    monkeypatch.setattr(trial.Odd, "cancelled", cancelled := threading.Event())
    api = make_api(plugins=host, step_seconds=0.01)
    api.generator.script = lambda request, index: [65] * 300
    with run_app(api.app) as url:
        for body in ({"text": "wait"}, {"text": "wait", "stream": True}):
            cancelled.clear()
            num_before = len(api.generator.generations)
            _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            raw = json.dumps(body).encode()
            head = "POST /v1/skills/odd/run HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
            while len(api.generator.generations) == num_before:
                await asyncio.sleep(0.005)
            writer.close()
            assert await asyncio.to_thread(cancelled.wait, 60)
            assert await asyncio.to_thread(api.generator.generations[-1].aborted.wait, 60)
