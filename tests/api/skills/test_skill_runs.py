"""Skills over HTTP: typed runs, streamed and not, and what their context gives them."""

from __future__ import annotations

from typing import Any

import pytest


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

    async def test_a_stream_tells_progress_text_and_the_same_result(self, api, trial):
        body = {"text": "Hi", "times": 3}
        whole = (await api.post("/v1/skills/echo/run", body)).json()
        streamed = trial.events((await api.post("/v1/skills/echo/run", {**body, "stream": True})).text)
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


async def test_skills_are_described(api):
    listed = (await api.http.get("/v1/llmos/skills")).json()["data"]
    assert [(skill["name"], skill["plugin"]) for skill in listed] == [("echo", "trial"), ("odd", "trial")]
    one = (await api.http.get("/v1/llmos/skills/echo")).json()
    assert one["input_schema"]["properties"]["times"] == {"minimum": 1, "type": "integer", "default": 1}
    assert one["output_schema"]["required"] == ["result", "times", "seen"]
    function = one["tool"]["function"]
    assert (function["name"], function["parameters"]) == ("echo", one["input_schema"])
    assert (await api.http.get("/v1/llmos/skills/none")).status_code == 404
