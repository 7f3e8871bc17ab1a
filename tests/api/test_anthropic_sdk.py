"""The stock anthropic SDK in this process, strict validation on."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from llmos_server.access.gate import Gate

USER: list[Any] = [{"role": "user", "content": "Hi"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"name": "w", "description": "The weather.", "input_schema": CITY}
CALL = '<tool_call>\n{"name": "w", "arguments": {"city": "Rome"}}\n</tool_call>'


def client_of(api: Any, key: str = "any") -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        base_url="http://127.0.0.1:8000",
        api_key=key,
        http_client=api.http,
        max_retries=0,
        _strict_response_validation=True,
    )


@pytest.fixture
def client(api):
    return client_of(api)


async def test_a_message(client):
    message = await client.messages.create(model="tiny", max_tokens=20, messages=USER, system="Be brief.")
    assert [block.to_dict() for block in message.content] == [{"type": "text", "text": "Hello"}]
    assert (message.stop_reason, message.stop_sequence, message.role, message.model) == (
        "end_turn",
        None,
        "assistant",
        "tiny",
    )
    assert message.id.startswith("msg_")
    assert message._request_id.startswith("req_")


async def test_usage_parts_what_was_cached(api, client):
    api.generator.num_cached_tokens = 4
    usage = (await client.messages.create(model="tiny", max_tokens=20, messages=USER)).usage
    count = await client.messages.count_tokens(model="tiny", messages=USER)
    assert usage.input_tokens + usage.cache_read_input_tokens == count.input_tokens
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens, usage.output_tokens) == (4, 0, 5)


async def test_the_answer_can_be_sent_back(make_api):
    api = make_api(f"Well.\n{CALL}", max_model_len=4000)
    client = client_of(api)
    message = await client.messages.create(model="tiny", max_tokens=200, messages=USER, tools=[TOOL])
    text, call = message.content
    assert (text.text, call.name, call.input, message.stop_reason) == ("Well.", "w", {"city": "Rome"}, "tool_use")
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    raw = await client.messages.with_raw_response.create(
        model="tiny",
        max_tokens=9,
        messages=[*USER, message.to_param(), {"role": "user", "content": [result]}],
        tools=[TOOL],
        extra_headers={"X-LLMOS-Strict": "1"},
    )
    assert raw.headers.get("X-LLMOS-Ignored") is None
    assert "sunny" in api.renderer.decode(api.generator.requests[1].prompt_ids)


async def test_a_stream(client):
    async with client.messages.stream(model="tiny", max_tokens=20, messages=USER) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_message()
    assert kinds[:3] == ["message_start", "content_block_start", "content_block_delta"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert (final.content[0].text, final.stop_reason, final.usage.output_tokens) == ("Hello", "end_turn", 5)


async def test_a_form(make_api):
    api = make_api('{"city": "Rome"}', max_model_len=4000)
    message = await client_of(api).messages.create(
        model="tiny",
        max_tokens=50,
        messages=USER,
        output_config={"format": {"type": "json_schema", "schema": {**CITY, "additionalProperties": False}}},
    )
    assert message.content[0].text == '{"city": "Rome"}'
    assert "city" in api.generator.requests[0].sampling.grammar


async def test_beta_fields_are_ignored_and_told(client):
    raw = await client.beta.messages.with_raw_response.create(
        model="tiny",
        max_tokens=9,
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]}
        ],
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
        thinking={"type": "enabled", "budget_tokens": 1024},
        betas=["context-management-2025-06-27"],
    )
    told = set(raw.headers["X-LLMOS-Ignored"].split(", "))
    assert told == {"messages[0].content[0].cache_control", "context_management", "thinking.budget_tokens"}


async def test_errors(client):
    with pytest.raises(anthropic.NotFoundError) as missing:
        await client.messages.create(model="claude-opus", max_tokens=9, messages=USER)
    assert missing.value.type == "not_found_error"
    assert "[models] aliases" in missing.value.message
    assert missing.value.request_id.startswith("req_")
    with pytest.raises(anthropic.BadRequestError) as bad:
        await client.messages.create(model="tiny", max_tokens=0, messages=USER)
    assert (bad.value.type, bad.value.error_code) == ("invalid_request_error", "invalid_value")


async def test_keys(make_api, fakes):
    keys = fakes.MemoryKeys()
    secret = keys.add()
    api = make_api(gate=Gate(keys))
    with pytest.raises(anthropic.AuthenticationError) as refused:
        await client_of(api).messages.create(model="tiny", max_tokens=9, messages=USER)
    assert refused.value.type == "authentication_error"
    assert (await client_of(api, secret).messages.create(model="tiny", max_tokens=9, messages=USER)).content


async def test_the_models(api, client):
    """Strictly what the SDK knows; OpenAI's clients go on to read LLMOS's capabilities."""
    [model] = [model async for model in client.models.list(limit=1000)]
    assert (model.id, model.type, model.created_at.year) == ("tiny", "model", 2023)
    assert (model.capabilities, model.max_input_tokens) == (None, api.generator.info.max_model_len)
    assert (await client.models.retrieve("gpt-4o-mini")).to_dict() == model.to_dict()
    assert "chat" in (await api.http.get("/v1/models/tiny")).json()["capabilities"]


async def test_a_text_block_has_no_null_that_other_clients_refuse(client):
    """The Vercel AI SDK takes a list of citations, or none at all."""
    raw = await client.messages.with_raw_response.create(model="tiny", max_tokens=20, messages=USER)
    assert raw.http_response.json()["content"] == [{"type": "text", "text": "Hello"}]
