"""Skills under a model's name in chats."""

from __future__ import annotations

import pytest


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

    async def test_streamed_equals_unstreamed(self, api, trial):
        whole = (await api.chat("Hi", model="skill:echo", metadata={"times": 3})).json()
        options = {"stream": True, "stream_options": {"include_usage": True}}
        reply = await api.chat("Hi", model="skill:echo", metadata={"times": 3}, **options)
        chunks = [data for _, data in trial.events(reply.text)]
        assert chunks.pop() == "[DONE]"
        assert chunks.pop()["usage"] == whole["usage"]
        deltas = [chunk["choices"][0] for chunk in chunks]
        assert deltas[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(d["delta"].get("content", "") for d in deltas) == whole["choices"][0]["message"]["content"]
        assert [d["finish_reason"] for d in deltas if d["finish_reason"]] == ["stop"]

    async def test_a_result_that_is_no_string_is_json(self, api, trial):
        reply = await api.chat("x", model="skill:odd")
        assert reply.json()["choices"][0]["message"]["content"] == '{"text":"x"}'
        streamed = trial.events((await api.chat("x", model="skill:odd", stream=True)).text)
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
            ({"return_token_ids": True}, "return_token_ids"),
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
