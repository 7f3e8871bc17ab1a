"""Skills under a model's name in Anthropic's API, by the stock SDK with strict validation."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

USER: list[Any] = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def client(api: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        base_url="http://127.0.0.1:8000",
        api_key="any",
        http_client=api.http,
        max_retries=0,
        _strict_response_validation=True,
    )


async def test_a_skill_is_a_model(client: anthropic.AsyncAnthropic) -> None:
    message = await client.messages.create(model="skill:echo", max_tokens=20, messages=USER)
    assert [block.to_dict() for block in message.content] == [{"type": "text", "text": "Hello"}]
    assert (message.stop_reason, message.model) == ("end_turn", "skill:echo")
    assert message.usage.output_tokens == 5
    assert message.usage.input_tokens > 0


@pytest.mark.parametrize("skill", ["skill:echo", "skill:odd"])
async def test_streamed_equals_unstreamed(client: anthropic.AsyncAnthropic, skill: str) -> None:
    whole = await client.messages.create(model=skill, max_tokens=20, messages=USER)
    async with client.messages.stream(model=skill, max_tokens=20, messages=USER) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_message()
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert (final.content[0].text, final.stop_reason) == (whole.content[0].text, whole.stop_reason)  # type: ignore[union-attr]
    assert final.usage.to_dict() == whole.usage.to_dict()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "skill:none"}, "model"),
        ({"tools": [{"name": "w", "input_schema": {"type": "object"}}]}, "tools"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, "output_config.format"),
        ({"messages": [*USER, {"role": "assistant", "content": "Well"}]}, "messages[1].role"),
    ],
)
async def test_what_a_skill_cant_do_is_refused_by_name(
    client: anthropic.AsyncAnthropic, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        await client.messages.create(**{"model": "skill:echo", "max_tokens": 20, "messages": USER, **fields})
    assert caught.value.status_code in (400, 404)
    assert caught.value.body["error"]["details"]["param"] == param  # type: ignore[index]


async def test_what_has_no_effect_is_told_in_anthropics_words(client: anthropic.AsyncAnthropic) -> None:
    raw = await client.messages.with_raw_response.create(
        model="skill:echo",
        max_tokens=20,
        messages=[*USER, {"role": "assistant", "content": "Well"}, *USER],
        system="Be brief.",
        extra_body={"temperature": 0.3},
        thinking={"type": "disabled"},
        output_config={"effort": "low"},
    )
    told = "max_tokens, system, temperature, thinking, output_config.effort, messages[0..1]"
    assert raw.headers["X-LLMOS-Ignored"] == told


async def test_a_failure_in_a_stream_is_anthropics_event(api: Any, trial: Any) -> None:
    messages = [{"role": "user", "content": "unlike"}]
    body = {"model": "skill:odd", "max_tokens": 20, "messages": messages, "stream": True}
    reply = await api.post("/v1/messages", body)
    kind, data = trial.events(reply.text)[-1]
    assert (kind, data["type"]) == ("error", "error")
    assert data["request_id"] == reply.headers["Request-Id"]


async def test_a_skill_has_no_prompt_to_count(api: Any) -> None:
    reply = await api.post("/v1/messages/count_tokens", {"model": "skill:echo", "messages": USER})
    assert reply.status_code == 400
    assert reply.json()["error"]["details"]["param"] == "model"
