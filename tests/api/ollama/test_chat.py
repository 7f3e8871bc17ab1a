"""POST /api/chat: fields, answers, what is refused and told."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

USER = [{"role": "user", "content": "Hi"}]
FIGURES = {
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
}
ROME = {"city": "Rome"}
TOOL = {
    "type": "function",
    "function": {"name": "w", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


async def chat(api: Any, *, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    body = {"model": "tiny", "messages": USER, "stream": False, **fields}
    return await api.post("/api/chat", body, headers=headers)


async def asked(api: Any, **fields: Any) -> Any:
    """The request that the engine got."""
    reply = await chat(api, **fields)
    assert reply.status_code == 200, reply.text
    return api.generator.requests[-1]


async def refusal(api: Any, **fields: Any) -> str:
    reply = await chat(api, **fields)
    assert reply.status_code == 400, reply.text
    assert api.generator.requests == []
    [(name, text)] = reply.json().items()
    assert name == "error"
    return str(text)


async def test_a_whole_answer(api: Any) -> None:
    reply = await chat(api)
    found = reply.json()
    assert reply.headers["content-type"] == "application/json"
    assert found["message"] == {"role": "assistant", "content": "Hello"}
    assert (found["model"], found["done"], found["done_reason"]) == ("tiny", True, "stop")
    assert (found["prompt_eval_count"], found["eval_count"]) == (len("_user:Hi\n_assistant:"), 5)
    assert found["prompt_eval_duration"] == 2_000_000  # What the engine says.
    assert all(isinstance(found[name], int) and found[name] > 0 for name in FIGURES)
    assert found["total_duration"] >= found["eval_duration"]
    assert set(found) == {"model", "created_at", "message", "done", "done_reason", *FIGURES}
    assert datetime.fromisoformat(found["created_at"]).tzinfo is not None
    assert len(found["created_at"]) == len("2025-01-01T00:00:00.123456789Z")


async def test_a_name_may_have_the_tag_that_stands_for_none(api: Any) -> None:
    assert (await chat(api, model="tiny:latest")).json()["model"] == "tiny:latest"
    assert (await chat(api, model="gpt-4o-mini:latest")).status_code == 200
    reply = await chat(api, model="nobody:latest")
    assert reply.status_code == 404
    assert "'nobody' isn't served here" in reply.json()["error"]


async def test_ollamas_defaults_hold_where_the_request_says_nothing(api: Any) -> None:
    sampling = (await asked(api)).sampling
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.repetition_penalty) == (0.8, 40, 0.9, 1.0)
    assert sampling.max_tokens == 400 - len("_user:Hi\n_assistant:")


async def test_options_reach_the_engine(api: Any) -> None:
    options = {
        "num_predict": 3.0,
        "temperature": 0,
        "top_k": 5,
        "top_p": 0.5,
        "min_p": 0.1,
        "seed": 7,
        "repeat_penalty": 1.2,
        "repeat_last_n": -1,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
    }
    reply = await chat(api, options=options, headers={"X-LLMOS-Strict": "1"})
    assert reply.status_code == 200, reply.text
    sampling = api.generator.requests[0].sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_k, sampling.top_p) == (3, 0, 5, 0.5)
    assert (sampling.min_p, sampling.seed, sampling.repetition_penalty) == (0.1, 7, 1.2)
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (0.5, -0.5)
    assert reply.json()["message"]["content"] == "Hel"
    assert reply.json()["done_reason"] == "length"
    assert (await chat(api, options={"stop": ["l"]})).json()["message"]["content"] == "He"
    assert (await asked(api, options={"repeat_penalty": 1.2, "repeat_last_n": 0})).sampling.repetition_penalty == 1


async def test_what_has_no_effect_is_told(api: Any) -> None:
    options = {"num_gpu": 1, "mirostat": 2, "repeat_penalty": 1.1, "repeat_last_n": 64, "num_ctx": 10**6}
    reply = await chat(api, options=options, keep_alive="5m", shift=True)
    assert reply.status_code == 200
    told = set(reply.headers["X-LLMOS-Ignored"].split(", "))
    window = {"options.repeat_last_n", "options.num_ctx"}
    assert told == {"options.num_gpu", "options.mirostat", "keep_alive", "shift"} | window
    assert (await chat(api, keep_alive="5m", headers={"X-LLMOS-Strict": "1"})).status_code == 400


async def test_num_ctx_bounds_prompt_and_answer(make_api: Any) -> None:
    api = make_api("x" * 300)
    prompt = len("_user:Hi\n_assistant:")
    reply = await chat(api, options={"num_ctx": prompt + 4})
    assert (reply.json()["eval_count"], reply.json()["done_reason"]) == (4, "length")
    reply = await chat(api, options={"num_ctx": prompt + 4, "num_predict": 2})
    assert reply.json()["eval_count"] == 2


async def test_the_oldest_turns_of_a_long_chat_are_left_out_and_told(make_api: Any) -> None:
    api = make_api(max_model_len=60)
    turns = [{"role": "user", "content": "a" * 30}, {"role": "assistant", "content": "b" * 30}, *USER]
    reply = await chat(api, messages=turns)
    assert reply.status_code == 200, reply.text
    assert int(reply.headers["X-LLMOS-Dropped-Messages"]) >= 1
    refused = await chat(api, messages=turns, truncate=False)
    assert refused.status_code == 400
    assert '"truncate": true' in refused.json()["error"]
    assert "on_overflow" not in refused.json()["error"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": [{"role": "user", "content": "x", "images": ["aGk="]}]}, "messages[0].images"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x", "tool_name": "w"}]}, "messages[0]: no assistant message"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": {}}}]}]}, "function.name"),
        ({"template": "{{ .Prompt }}"}, "template"),
        ({"format": "yaml"}, "format"),
        ({"format": {"type": 5}}, "format.type"),
        ({"think": True}, "think"),
        ({"think": "high"}, "think"),
        ({"think": "sometimes"}, "think"),
        ({"keep_alive": "soon"}, "keep_alive"),
        ({"keep_alive": []}, "keep_alive"),
        ({"options": {"num_predict": 0}}, "options.num_predict"),
        ({"options": {"num_predict": 1.5}}, "options.num_predict"),
        ({"options": {"temperature": 3}}, "options.temperature"),
        ({"options": {"stop": ["x"] * 17}}, "options.stop"),
        ({"options": []}, "options"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"model": ""}, "model"),
        ({"tools": [{"type": "web"}]}, "tools[0]"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(api: Any, fields: dict[str, Any], words: str) -> None:
    assert words in await refusal(api, **fields)


async def test_empty_fields_ask_for_nothing(api: Any) -> None:
    """As clients send what their users left alone."""
    reply = await chat(
        api,
        format="",
        template="",
        tools=[],
        options={},
        keep_alive=None,
        think=False,
        messages=[{"role": "user", "content": "Hi", "images": [], "tool_calls": None}],
        headers={"X-LLMOS-Strict": "1"},
    )
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("wanted", ["json", {"type": "object", "properties": {"a": {"type": "integer"}}}])
async def test_a_form_becomes_a_grammar(make_api: Any, wanted: Any) -> None:
    assert (await asked(make_api('{"a": 1}'), format=wanted)).sampling.grammar


async def test_an_answer_that_is_not_what_its_schema_asks_for_says_so(make_api: Any) -> None:
    schema = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
    found = (await chat(make_api("[1, 1]"), format=schema)).json()
    assert found["message"]["content"] == "[1, 1]"
    assert "format_error" in found


async def test_log_probabilities(api: Any) -> None:
    found = (await chat(api, logprobs=True, top_logprobs=2)).json()["logprobs"]
    assert "".join(entry["token"] for entry in found) == "Hello"
    assert {len(entry["top_logprobs"]) for entry in found} == {2}
    assert found[0]["bytes"] == [ord("H")]
    assert all("top_logprobs" not in e for e in (await chat(api, logprobs=True)).json()["logprobs"])


THINKER = "{% if enable_thinking %}<think></think>{% endif %}"


async def test_thinking_is_told_apart_and_can_be_switched(make_api: Any, fakes: Any) -> None:
    api = make_api("<think>Hm.</think>Yes.", renderer=fakes.ByteRenderer(template=THINKER))
    found = (await chat(api)).json()["message"]
    assert (found["thinking"], found["content"]) == ("Hm.", "Yes.")
    prompts = [api.renderer.decode((await asked(api, think=think)).prompt_ids) for think in (None, True, False)]
    assert ["'enable_thinking', True" in prompt for prompt in prompts] == [False, True, False]
    assert ["'enable_thinking', False" in prompt for prompt in prompts] == [False, False, True]


async def test_a_level_goes_to_a_template_that_reads_it(make_api: Any, fakes: Any) -> None:
    renderer = fakes.ByteRenderer(template=THINKER)
    renderer.template_variables |= {"reasoning_effort"}
    api = make_api(renderer=renderer)
    prompts = [api.renderer.decode((await asked(api, think=think)).prompt_ids) for think in ("high", False)]
    assert ["'reasoning_effort', 'high'" in prompt for prompt in prompts] == [True, False]
    assert "'reasoning_effort', 'none'" in prompts[1]


async def test_thinking_that_no_template_switches_is_told(make_api: Any, fakes: Any) -> None:
    renderer = fakes.ByteRenderer(template="<think></think>")
    renderer.template_variables -= {"enable_thinking"}
    api = make_api(renderer=renderer)
    assert (await chat(api, think=False)).headers["X-LLMOS-Ignored"] == "think"
    assert "X-LLMOS-Ignored" not in (await chat(api, think=True)).headers


async def test_thinking_in_a_message_is_given_back_to_the_template(api: Any) -> None:
    messages = [*USER, {"role": "assistant", "thinking": "Hm.", "content": "Yes."}, *USER]
    reply = await chat(api, messages=messages, headers={"X-LLMOS-Strict": "1"})
    assert reply.status_code == 200, reply.text


CALLED = '<tool_call>\n{"name": "w", "arguments": {"city": "Rome"}}\n</tool_call>'


async def test_a_call_has_its_arguments_as_an_object(make_api: Any) -> None:
    found = (await chat(make_api(f"So.\n{CALLED}", max_model_len=4000), tools=[TOOL])).json()
    [call] = found["message"]["tool_calls"]
    assert found["message"]["content"] == "So."
    assert call["function"] == {"index": 0, "name": "w", "arguments": ROME}
    assert call["id"]
    assert found["done_reason"] == "stop"


async def test_a_call_that_was_cut_off_is_left_out(make_api: Any) -> None:
    """Clients run every call that they see."""
    api = make_api(CALLED, max_model_len=4000)
    found = (await chat(api, tools=[TOOL], options={"num_predict": len(CALLED) - 30})).json()
    assert found["done_reason"] == "length"
    assert "tool_calls" not in found["message"]


def called(city: str, **fields: Any) -> dict[str, Any]:
    return {"function": {"name": "w", "arguments": {"city": city}}, **fields}


def result(content: str, **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "content": content, **fields}


@pytest.mark.parametrize(
    ("calls", "results"),
    [
        ([called("Rome")], [result("sunny", tool_name="w")]),
        ([called("Rome")], [result("sunny")]),
        ([called("Rome"), called("Bonn")], [result("sunny", tool_name="w"), result("rain", tool_name="w")]),
        ([called("Rome", id="a", index=0), called("Bonn", id="b")], [result("rain", tool_call_id="b"), result("sun")]),
    ],
)
async def test_results_find_their_calls(api: Any, calls: list[Any], results: list[Any]) -> None:
    messages = [*USER, {"role": "assistant", "content": "", "tool_calls": calls}, *results]
    reply = await chat(api, messages=messages, headers={"X-LLMOS-Strict": "1"})
    assert reply.status_code == 200, reply.text
    text = api.renderer.decode(api.generator.requests[0].prompt_ids)
    assert json.dumps({"name": "w", "arguments": ROME}) in text


async def test_more_results_than_calls_are_refused(api: Any) -> None:
    messages = [{"role": "assistant", "tool_calls": [called("Rome")]}, result("sunny"), result("rain")]
    assert "messages[2]: no assistant message" in await refusal(api, messages=messages)


async def test_without_messages_the_model_is_loaded(make_api: Any) -> None:
    api = make_api(state="loading")
    api.generator.loaded.set()
    for fields in ({"messages": []}, {"messages": None}, {"messages": [], "stream": True}):
        found = (await chat(api, **fields)).json()
        assert (found["done"], found["done_reason"], found["message"]["content"]) == (True, "load", "")
    assert api.generator.state == "ready"
    assert api.generator.requests == []


async def test_curl_needs_no_content_type(api: Any) -> None:
    """The examples of Ollama's documentation, which curl sends as a form."""
    body = json.dumps({"model": "tiny", "messages": USER, "stream": False})
    for headers in ({}, {"content-type": "application/x-www-form-urlencoded"}, {"content-type": "text/plain"}):
        reply = await api.http.post("/api/chat", content=body, headers=headers)
        assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("header", [("origin", "http://127.0.0.1:8000"), ("sec-fetch-site", "same-origin")])
async def test_a_browser_needs_one(api: Any, header: tuple[str, str]) -> None:
    body = json.dumps({"model": "tiny", "messages": USER, "stream": False})
    headers = dict([header, ("content-type", "text/plain")])
    reply = await api.http.post("/api/chat", content=body, headers=headers)
    assert reply.status_code == 415
    assert "Content-Type" in reply.json()["error"]
