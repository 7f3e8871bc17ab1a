"""Skills over HTTP: typed runs, streamed and not, under a model's name, with the caller's key, and isolated."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Annotated, Any, Literal

import httpx2
import msgspec
import pytest

from llmos_server import HOOK_API, InputError, Skill, SkillContext, hookimpl
from llmos_server.access.gate import Gate
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate
from llmos_server.settings import PluginsSettings


class EchoInput(msgspec.Struct, kw_only=True):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    times: Annotated[int, msgspec.Meta(ge=1)] = 1
    mood: Literal["plain", "loud"] = "plain"
    labels: list[str] = []


class EchoOutput(msgspec.Struct, kw_only=True):
    result: str
    times: int
    seen: list[str]


class Echo(Skill[EchoInput, EchoOutput]):
    """Asks the model once for each time."""

    name = "echo"
    version = "1.2"
    description = "Asks and tells."
    input_type = EchoInput
    output_type = EchoOutput
    metric = "likeness"
    minimum_score = 0.5

    async def run(self, input: EchoInput, context: SkillContext) -> EchoOutput:
        if input.text == "bad":
            raise InputError("this text can't be echoed", field="text")
        texts = []
        for number in range(input.times):
            context.progress(number, input.times, "asking")
            reply = await context.chat([{"role": "user", "content": input.text}], on_text=context.write, max_tokens=50)
            texts.append(reply.text)
        return EchoOutput(result="".join(texts), times=input.times, seen=[context.model, input.mood, *input.labels])


class Point(msgspec.Struct):
    x: int


class AnyOutput(msgspec.Struct):
    result: Any


class Odd(Skill[EchoInput, AnyOutput]):
    """Does what its text says."""

    name = "odd"
    version = "1"
    description = "x"
    input_type = EchoInput
    output_type = AnyOutput
    timeout_seconds = 60.0
    gate = threading.Event()
    entered = threading.Event()
    cancelled = threading.Event()

    async def run(self, input: EchoInput, context: SkillContext) -> AnyOutput:
        message = [{"role": "user", "content": "q"}]
        match input.text:
            case "raise":
                raise ValueError("a secret text")
            case "exit":
                raise SystemExit
            case "wrong":
                return EchoOutput(result="x", times=1, seen=[])  # type: ignore[return-value]
            case "unlike":
                context.write("something")
                return AnyOutput("else")
            case "later":
                context.write("something")
                await asyncio.to_thread(self.gate.wait, 60)
                return AnyOutput("else")
            case "block":
                self.entered.set()
                self.gate.wait(60)
                return AnyOutput("late")
            case "long":
                await context.chat([{"role": "user", "content": "x" * 1000}])
            case "misuse":
                await context.chat(message, schema={}, regex="x")
            case "ask":
                return AnyOutput((await context.ask(message, Point)).x)
            case "score":
                scores = await context.score(message, ["yes", "no"])
                return AnyOutput([(s.answer, s.logprob, s.num_tokens) for s in scores])
            case "count":
                return AnyOutput([await context.count_tokens("abc"), context.max_model_len, context.model_digest])
            case "wait":
                try:
                    await context.chat(message)
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
            case "many":
                replies = await asyncio.gather(*(context.chat(message) for _ in range(20)))
                return AnyOutput(len(replies))
        return AnyOutput({"text": input.text})


class Plugin:
    hook_api = ".".join(map(str, HOOK_API))

    @hookimpl
    def register_skills(self) -> list[Skill[Any, Any]]:
        return [Echo(), Odd()]


@pytest.fixture
def host() -> PluginHost:
    host = PluginHost(PluginsSettings(max_failures=2))
    host.add(Candidate(name="trial", source="built-in", load=Plugin), {})
    assert host.plugins["trial"].state == "on", host.plugins["trial"].reason
    return host


@pytest.fixture
def api(make_api, host):
    return make_api("Hello", plugins=host)


def events(text: str) -> list[tuple[str, Any]]:
    """(event, data) of a stream."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in lines:
            data = lines["data"] if lines["data"] == "[DONE]" else json.loads(lines["data"])
            found.append((lines.get("event", ""), data))
    return found


class TestRuns:
    async def test_an_answer_tells_what_made_it(self, api):
        reply = await api.post("/v1/skills/echo/run", {"text": "Hi", "times": 2})
        assert reply.status_code == 200, reply.text
        body = reply.json()
        assert body["result"] == "HelloHello"
        assert body["details"] == {"times": 2, "seen": ["tiny", "plain"]}
        assert (body["skill"], body["version"], body["model"]) == ("echo", "1.2", "tiny")
        assert body["model_digest"] == "sha256:" + "ab" * 32
        assert body["minimum_score"] == 0.5
        assert body["usage"]["completion_tokens"] == 10
        assert [request.sampling.temperature for request in api.generator.requests] == [0.0, 0.0]

    @pytest.mark.parametrize(
        ("body", "param", "code"),
        [
            ({}, "text", "missing_required_parameter"),
            ({"text": None}, "text", "missing_required_parameter"),
            ({"text": 3}, "text", "invalid_value"),
            ({"text": ""}, "text", "invalid_value"),
            ({"text": "x", "times": 0}, "times", "invalid_value"),
            ({"text": "x", "mood": "sad"}, "mood", "invalid_value"),
            ({"text": "x", "labels": ["a", 1]}, "labels[1]", "invalid_value"),
            ({"text": "bad"}, "text", "invalid_value"),
            ({"text": "x", "model": 3}, "model", "invalid_value"),
            ({"text": "x", "stream": "yes"}, "stream", "invalid_value"),
        ],
    )
    async def test_a_wrong_input_is_refused_by_its_field(self, api, body, param, code):
        reply = await api.post("/v1/skills/echo/run", body)
        assert reply.status_code == 400
        error = reply.json()["error"]
        assert (error["param"], error["code"]) == (param, code)

    async def test_unknown_fields_are_told_or_refused(self, api):
        reply = await api.post("/v1/skills/echo/run", {"text": "x", "tone": 1})
        assert reply.headers["X-LLMOS-Ignored"] == "tone"
        reply = await api.post("/v1/skills/echo/run", {"text": "x", "tone": 1}, headers={"X-LLMOS-Strict": "1"})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "tone")

    async def test_unknown_skills_and_models(self, api):
        reply = await api.post("/v1/skills/ecko/run", {"text": "x"})
        assert reply.status_code == 404
        assert "Skills: echo, odd" in reply.json()["error"]["message"]
        reply = await api.post("/v1/skills/echo/run", {"text": "x", "model": "huge"})
        assert (reply.status_code, reply.json()["error"]["param"]) == (404, "model")
        assert (await api.post("/v1/skills/echo/run", {"text": "x", "model": "gpt-4o-mini"})).json()["model"] == "tiny"

    async def test_openais_own_paths_are_free(self, api):
        for path in ("/v1/skills", "/v1/skills/echo"):
            assert (await api.http.get(path)).status_code == 404

    async def test_a_stream_tells_progress_text_and_the_same_result(self, api):
        body = {"text": "Hi", "times": 3}
        whole = (await api.post("/v1/skills/echo/run", body)).json()
        streamed = events((await api.post("/v1/skills/echo/run", {**body, "stream": True})).text)
        assert streamed[-1] == ("", "[DONE]")
        kind, last = streamed[-2]
        assert kind == "result"
        assert last["result"]["result"] == whole["result"]
        assert last["result"]["details"] == whole["details"]
        assert "".join(data["text"] for kind, data in streamed if kind == "text") == whole["result"]
        progress = [data for kind, data in streamed if kind == "progress"]
        assert progress
        assert progress[0].items() >= {"type": "progress", "total": 3, "note": "asking"}.items()

    async def test_what_fails_at_once_has_its_status_in_a_stream_too(self, api):
        for body, status in (({"text": "bad"}, 400), ({"text": "x", "model": "huge"}, 404)):
            assert (await api.post("/v1/skills/echo/run", {**body, "stream": True})).status_code == status


class TestContext:
    async def run(self, api, text: str) -> Any:
        reply = await api.post("/v1/skills/odd/run", {"text": text})
        assert reply.status_code == 200, reply.text
        return reply.json()["result"]

    async def test_ask_gives_a_value_of_a_type(self, make_api, host):
        api = make_api('{"x": 7}', plugins=host)
        assert await self.run(api, "ask") == 7
        assert '"x"' in api.generator.requests[0].sampling.grammar
        reply = await make_api('{"x": 7}' * 99, plugins=host).post("/v1/skills/odd/run", {"text": "ask"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (500, "plugin_failed")
        assert "ReplyCut" in reply.json()["error"]["message"]

    async def test_score_sums_over_the_answers_tokens(self, api, fakes):
        scores = await self.run(api, "score")
        assert [answer for answer, _, _ in scores] == ["yes", "no"]
        for answer, logprob, num_tokens in scores:
            tokens = enumerate(answer.encode())
            assert logprob == pytest.approx(sum(fakes.logprob_of(token, place, 0).logprob for place, token in tokens))
            assert num_tokens == len(answer)
        [request] = api.generator.requests
        assert bytes(i for i in request.prompt_ids if i < 256) == b"user:q\nassistant:"

    async def test_what_a_skill_knows_of_its_model(self, api):
        assert await self.run(api, "count") == [3, 400, "sha256:" + "ab" * 32]

    async def test_any_result_and_many_calls_at_once(self, api):
        assert await self.run(api, "other") == {"text": "other"}
        assert await self.run(api, "many") == 20
        assert api.generator.num_holds == 0

    async def test_what_is_too_long_for_the_model_is_the_inputs_fault(self, api, host):
        reply = await api.post("/v1/skills/odd/run", {"text": "long"})
        assert reply.status_code == 400
        error = reply.json()["error"]
        assert (error["param"], error["code"]) == ("text", "context_length_exceeded")
        assert not host.failures.counts


class TestChat:
    async def test_a_skill_is_a_model(self, api):
        reply = await api.chat("Hi", model="skill:echo", metadata={"times": "2", "labels": '["a"]', "mood": "loud"})
        assert reply.status_code == 200, reply.text
        body = reply.json()
        assert body["choices"][0]["message"]["content"] == "HelloHello"
        assert body["choices"][0]["finish_reason"] == "stop"
        assert body["model"] == "skill:echo"
        assert body["usage"]["completion_tokens"] == 10
        assert body["system_fingerprint"].endswith("_echo@1.2")

    async def test_streamed_equals_unstreamed(self, api):
        whole = (await api.chat("Hi", model="skill:echo", metadata={"times": 3})).json()
        options = {"stream": True, "stream_options": {"include_usage": True}}
        reply = await api.chat("Hi", model="skill:echo", metadata={"times": 3}, **options)
        chunks = [data for _, data in events(reply.text)]
        assert chunks.pop() == "[DONE]"
        assert chunks.pop()["usage"] == whole["usage"]
        deltas = [chunk["choices"][0] for chunk in chunks]
        assert deltas[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(d["delta"].get("content", "") for d in deltas) == whole["choices"][0]["message"]["content"]
        assert [d["finish_reason"] for d in deltas if d["finish_reason"]] == ["stop"]

    async def test_a_result_that_is_no_string_is_json(self, api):
        reply = await api.chat("x", model="skill:odd")
        assert reply.json()["choices"][0]["message"]["content"] == '{"text":"x"}'
        streamed = events((await api.chat("x", model="skill:odd", stream=True)).text)
        texts = [data["choices"][0]["delta"].get("content", "") for _, data in streamed if data != "[DONE]"]
        assert "".join(texts) == '{"text":"x"}'

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"metadata": {"times": "0"}}, "metadata.times"),
            ({"metadata": {"times": "many"}}, "metadata.times"),
            ({"metadata": ["x"]}, "metadata"),
            ({"metadata": {"model": 3}}, "metadata.model"),
            ({"metadata": {"model": "huge"}}, "model"),
            ({"content": ""}, "messages"),
            ({"n": 2}, "n"),
            ({"logprobs": True}, "logprobs"),
            ({"response_format": {"type": "json_object"}}, "response_format"),
            ({"model": "skill:none"}, "model"),
            ({"messages": [{"role": "assistant", "content": "x"}]}, "messages[0].role"),
        ],
    )
    async def test_what_a_skill_cant_do_is_refused_by_name(self, api, fields, param):
        reply = await api.chat(fields.pop("content", "Hi"), **{"model": "skill:echo", **fields})
        assert reply.status_code in (400, 404)
        assert reply.json()["error"]["param"] == param

    async def test_what_has_no_effect_is_told(self, api):
        messages = [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
        extra = {"temperature": 0.3, "n": 1, "response_format": {"type": "text"}, "metadata": {"tone": "x"}}
        reply = await api.chat(model="skill:echo", messages=messages, **extra)
        assert reply.status_code == 200, reply.text
        assert reply.headers["X-LLMOS-Ignored"] == "temperature, messages[0..0], metadata.tone"

    async def test_it_is_listed_after_the_models(self, api):
        listed = (await api.http.get("/v1/models")).json()["data"]
        assert [model["id"] for model in listed] == ["tiny", "skill:echo", "skill:odd"]
        one = (await api.http.get("/v1/models/skill:echo")).json()
        assert one == listed[1]
        assert one["capabilities"] == ["chat", "skill", "streaming"]
        assert (await api.http.get("/v1/models/skill:none")).status_code == 404


async def test_skills_are_described(api):
    listed = (await api.http.get("/v1/llmos/skills")).json()["data"]
    assert [(skill["name"], skill["plugin"]) for skill in listed] == [("echo", "trial"), ("odd", "trial")]
    one = (await api.http.get("/v1/llmos/skills/echo")).json()
    assert one["input_schema"]["properties"]["times"] == {"minimum": 1, "type": "integer", "default": 1}
    assert one["output_schema"]["required"] == ["result", "times", "seen"]
    function = one["tool"]["function"]
    assert (function["name"], function["parameters"]) == ("echo", one["input_schema"])
    assert (await api.http.get("/v1/llmos/skills/none")).status_code == 404


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

    async def test_a_failure_within_a_stream_ends_it_with_an_error(self, api, run_app, monkeypatch):
        monkeypatch.setattr(Odd, "gate", gate := threading.Event())
        text = ""
        with run_app(api.app) as url:
            body = {"text": "later", "stream": True}
            address = url + "/v1/skills/odd/run"
            async with httpx2.AsyncClient() as client, client.stream("POST", address, json=body) as reply:
                assert reply.status_code == 200
                async for piece in reply.aiter_text():
                    text += piece
                    gate.set()
        streamed = events(text)
        assert [kind for kind, _ in streamed] == ["text", "error"]
        assert streamed[-1][1]["error"]["code"] == "plugin_failed"

    async def test_failing_runs_dont_switch_a_skill_off(self, api):
        for _ in range(5):
            assert (await api.post("/v1/skills/odd/run", {"text": "raise"})).status_code == 500
        assert (await api.post("/v1/skills/odd/run", {"text": "x"})).status_code == 200

    async def test_a_skill_that_blocks_holds_up_nobody_else(self, api, host, monkeypatch):
        monkeypatch.setattr(Odd, "gate", gate := threading.Event())
        monkeypatch.setattr(Odd, "entered", entered := threading.Event())
        blocked = asyncio.create_task(api.post("/v1/skills/odd/run", {"text": "block"}))
        assert await asyncio.to_thread(entered.wait, 60)
        assert (await api.post("/v1/skills/odd/run", {"text": "x"})).status_code == 200
        assert (await api.chat("Hi")).status_code == 200
        assert not blocked.done()
        gate.set()
        assert (await blocked).json()["result"] == "late"

    async def test_one_that_never_ends_is_given_up_counted_and_switched_off(self, api, host, monkeypatch):
        monkeypatch.setattr(Odd, "gate", gate := threading.Event())
        monkeypatch.setattr(Odd, "timeout_seconds", 0.05)
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

    async def test_a_run_whose_time_is_up_is_cancelled_with_what_it_asked(self, api, host, monkeypatch):
        monkeypatch.setattr(Odd, "timeout_seconds", 0.2)
        monkeypatch.setattr(Odd, "cancelled", cancelled := threading.Event())
        api.generator.gate = asyncio.Event()
        reply = await api.post("/v1/skills/odd/run", {"text": "wait"})
        assert reply.status_code == 500
        assert cancelled.is_set()
        assert host.failures.counts["trial", "register_skills", "timeout"] == 1
        assert all(generation.aborted.is_set() for generation in api.generator.generations)

    async def test_only_so_many_run_at_once(self, make_api, monkeypatch):
        host = PluginHost(PluginsSettings(max_runs=1))
        host.add(Candidate(name="trial", source="built-in", load=Plugin), {})
        api = make_api(plugins=host)
        monkeypatch.setattr(Odd, "gate", gate := threading.Event())
        monkeypatch.setattr(Odd, "entered", entered := threading.Event())
        blocked = asyncio.create_task(api.post("/v1/skills/odd/run", {"text": "block"}))
        assert await asyncio.to_thread(entered.wait, 60)
        reply = await api.post("/v1/skills/odd/run", {"text": "x"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "queue_full")
        gate.set()
        assert (await blocked).status_code == 200
        assert (await api.post("/v1/skills/odd/run", {"text": "x"})).status_code == 200


async def test_a_client_that_leaves_ends_the_run(run_app, make_api, host, monkeypatch):
    monkeypatch.setattr(Odd, "cancelled", cancelled := threading.Event())
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


class TestKeys:
    async def test_a_run_takes_one_place_and_its_calls_are_the_keys(self, make_api, host, fakes):
        keys = fakes.MemoryKeys()
        key = keys.add(max_in_flight=1)
        api = make_api("Hello", plugins=host, gate=Gate(keys))
        headers = {"Authorization": f"Bearer {key}"}
        reply = await api.post("/v1/skills/odd/run", {"text": "many"}, headers=headers)
        assert reply.status_code == 200, reply.text
        [key_id] = keys.stored
        assert {request.owner for request in api.generator.requests} == {key_id}
        assert (await api.post("/v1/skills/odd/run", {"text": "x"})).status_code == 401

    async def test_a_keys_models_and_tokens_hold(self, make_api, host, fakes):
        keys = fakes.MemoryKeys()
        poor = {"Authorization": f"Bearer {keys.add(tokens_per_minute=10)}"}
        other = {"Authorization": f"Bearer {keys.add(models=('else',))}"}
        api = make_api("Hello", plugins=host, gate=Gate(keys))
        reply = await api.post("/v1/skills/odd/run", {"text": "many"}, headers=poor)
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        reply = await api.post("/v1/skills/echo/run", {"text": "x"}, headers=other)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "model_not_allowed")

    async def test_a_key_may_be_limited_to_skills(self, make_api, host, fakes):
        keys = fakes.MemoryKeys()
        headers = {"Authorization": f"Bearer {keys.add(skills=('echo',))}"}
        api = make_api("Hello", plugins=host, gate=Gate(keys))
        assert (await api.post("/v1/skills/echo/run", {"text": "x"}, headers=headers)).status_code == 200
        chat = api.chat("x", model="skill:odd", headers=headers)
        for reply in (await api.post("/v1/skills/odd/run", {"text": "x"}, headers=headers), await chat):
            assert (reply.status_code, reply.json()["error"]["code"]) == (403, "skill_not_allowed")
        for path, names in (("/v1/llmos/skills", ["echo"]), ("/v1/models", ["tiny", "skill:echo"])):
            listed = (await api.http.get(path, headers=headers)).json()["data"]
            assert [entry.get("id", entry.get("name")) for entry in listed] == names
