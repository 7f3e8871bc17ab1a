"""POST /v1/chat/completions, unstreamed."""

from __future__ import annotations

import pytest


async def test_answers_in_openais_shape(api):
    reply = await api.chat("Hi")
    assert reply.status_code == 200
    body = reply.json()
    assert body["id"].startswith("chatcmpl-")
    assert body["object"] == "chat.completion"
    assert body["model"] == "tiny"
    assert body["system_fingerprint"] == "fp_abababababab"
    [choice] = body["choices"]
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": "Hello", "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
        "stop_reason": None,
    }
    assert body["usage"]["prompt_tokens"] == len(api.generator.requests[0].prompt_ids)
    assert body["usage"]["completion_tokens"] == 5
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert "dropped_messages" not in body["usage"]


async def test_an_alias_reaches_the_model_and_the_answer_names_the_model(api):
    reply = await api.chat(model="gpt-4o-mini")
    assert reply.json()["model"] == "tiny"


async def test_without_a_model_the_default_answers(api):
    assert (await api.chat(model=None)).json()["model"] == "tiny"


async def test_an_unknown_model_is_a_404_that_lists_the_known(api):
    reply = await api.chat(model="gpt-9")
    error = reply.json()["error"]
    assert reply.status_code == 404
    assert error["code"] == "model_not_found"
    assert error["param"] == "model"
    assert "tiny" in error["message"]
    assert "gpt-4o-mini" in error["message"]


async def test_fields_reach_the_engine(api):
    await api.chat(
        temperature=0.5, top_p=0.9, top_k=7, min_p=0.1, repetition_penalty=1.2, presence_penalty=1,
        frequency_penalty=-1, logit_bias={"65": -3}, seed=-2, stop_token_ids=[10], min_tokens=2, max_tokens=9, n=2,
        priority=-4, cache_salt="s", logprobs=True, top_logprobs=3,
    )  # fmt: skip
    [request] = api.generator.requests
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0.5, 0.9, 7, 0.1)
    assert (sampling.repetition_penalty, sampling.presence_penalty, sampling.frequency_penalty) == (1.2, 1.0, -1.0)
    assert sampling.logit_bias == {65: -3.0}
    assert sampling.seed == 2**63 - 2
    assert sampling.stop_token_ids == (10, 256)
    assert (sampling.min_tokens, sampling.max_tokens, sampling.logprobs) == (2, 9, 3)
    assert sampling.prompt_logprobs is None
    assert (request.n, request.priority, request.cache_salt) == (2, -4, "s")


async def test_llama_cpps_words_for_no_bound_and_no_seed(api):
    for _ in range(2):
        assert (await api.chat(max_tokens=-1, seed=-1)).status_code == 200
        assert (await api.complete(["a", "a"], max_tokens=-1, seed=-1)).status_code == 200
    requests = api.generator.requests
    assert {len(request.prompt_ids) + request.sampling.max_tokens for request in requests} == {400}
    assert len({request.sampling.seed for request in requests}) == len(requests)


async def test_defaults(api):
    await api.chat()
    await api.chat(top_k=-1, ignore_eos=True, max_tokens=3)
    first, second = (request.sampling for request in api.generator.requests)
    room = 400 - len(api.generator.requests[0].prompt_ids)
    assert (first.temperature, first.top_p, first.top_k, first.max_tokens) == (1.0, 1.0, 0, room)
    assert first.seed != second.seed
    assert second.top_k == 0
    assert second.stop_token_ids == ()


async def test_max_completion_tokens_wins(api):
    reply = await api.chat(max_tokens=4, max_completion_tokens=2)
    assert reply.json()["choices"][0]["message"]["content"] == "He"
    assert reply.json()["choices"][0]["finish_reason"] == "length"


async def test_max_tokens_is_an_upper_bound_that_the_room_cuts(make_api):
    api = make_api("x" * 1000, max_model_len=50)
    reply = await api.chat(max_tokens=100000)
    usage = reply.json()["usage"]
    assert usage["total_tokens"] == 50
    assert reply.json()["choices"][0]["finish_reason"] == "length"


async def test_a_prompt_without_room_is_a_400_with_the_numbers(make_api):
    api = make_api(max_model_len=50)
    reply = await api.chat("x" * 60)
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert error["code"] == "context_length_exceeded"
    assert error["param"] == "messages"
    length = len(api.renderer.encode_chat([{"role": "user", "content": "x" * 60}]))
    assert str(length) in error["message"]
    assert "50" in error["message"]
    assert "49" in error["message"]
    assert api.generator.requests == []


@pytest.mark.parametrize("how", ["field", "setting"])
async def test_drop_oldest_drops_and_tells(make_api, how):
    api = make_api(max_model_len=100, settings={"on_overflow": "drop_oldest"} if how == "setting" else None)
    turns = [{"role": "user", "content": "x" * 50}, {"role": "user", "content": "y" * 50}]
    reply = await api.chat(messages=turns, **({"on_overflow": "drop_oldest"} if how == "field" else {}))
    assert reply.status_code == 200
    assert reply.headers["X-LLMOS-Dropped-Messages"] == "1"
    assert reply.json()["usage"]["dropped_messages"] == 1
    assert b"x" not in bytes(t for t in api.generator.requests[0].prompt_ids if t < 256)


async def test_n_choices(make_api):
    api = make_api(lambda request, index: b"abc"[index : index + 1] * 3)
    reply = await api.chat(n=3)
    contents = [choice["message"]["content"] for choice in reply.json()["choices"]]
    assert contents == ["aaa", "bbb", "ccc"]
    assert [choice["index"] for choice in reply.json()["choices"]] == [0, 1, 2]
    assert reply.json()["usage"]["completion_tokens"] == 9


async def test_logprobs(api):
    reply = await api.chat(logprobs=True, top_logprobs=2)
    content = reply.json()["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in content] == list("Hello")
    assert content[0]["bytes"] == [72]
    assert content[0]["logprob"] < 0
    assert [len(entry["top_logprobs"]) for entry in content] == [2] * 5
    assert reply.json()["choices"][0]["logprobs"]["refusal"] is None


async def test_a_stop_string_cuts_and_aborts(make_api):
    api = make_api("one two three", tokens_per_step=1)
    reply = await api.chat(stop=[" tw", "zzz"])
    [choice] = reply.json()["choices"]
    assert choice["message"]["content"] == "one"
    assert choice["finish_reason"] == "stop"
    assert choice["stop_reason"] == " tw"
    assert api.generator.generations[0].aborted.is_set()


async def test_stop_token_ids(api):
    reply = await api.chat(stop_token_ids=[ord("l")])
    [choice] = reply.json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"], choice["stop_reason"]) == ("He", "stop", ord("l"))


async def test_min_tokens_holds_off_the_end(api):
    reply = await api.chat(min_tokens=7, max_tokens=8)
    assert reply.json()["usage"]["completion_tokens"] >= 7


async def test_cached_tokens_are_counted(api):
    api.generator.num_cached_tokens = 4
    assert (await api.chat()).json()["usage"]["prompt_tokens_details"]["cached_tokens"] == 4


async def test_unicode_in_pieces_of_bytes(make_api):
    api = make_api("naïve 😀 日本")
    assert (await api.chat()).json()["choices"][0]["message"]["content"] == "naïve 😀 日本"


async def test_a_template_error_is_a_400_with_its_words(api):
    reply = await api.chat("REFUSE")
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "template_error"
    assert "chat template" in reply.json()["error"]["message"]


async def test_continue_final_message(api):
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Wel"}]
    await api.chat(messages=messages, continue_final_message=True)
    await api.chat(messages=messages, add_generation_prompt=False)
    texts = [api.renderer.decode(request.prompt_ids) for request in api.generator.requests]
    assert texts[0].endswith("assistant:Wel")
    assert texts[1].endswith("assistant:Wel\n")
    both = await api.chat(messages=messages, continue_final_message=True, add_generation_prompt=True)
    assert both.json()["error"]["param"] == "continue_final_message"


async def test_reasoning_effort_none_switches_thinking_off(api):
    await api.chat(reasoning_effort="none")
    assert "enable_thinking" in api.renderer.decode(api.generator.requests[0].prompt_ids)
    reply = await api.chat(reasoning_effort="high")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "reasoning_effort")


async def test_render_shows_the_prompt_and_runs_nothing(api):
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3, "seed": 5, "stop": "x"}
    reply = await api.post("/v1/chat/completions/render", body)
    rendered = reply.json()
    assert reply.status_code == 200
    assert rendered["prompt"] == "<turn>user:Hi\n<turn>assistant:"
    assert rendered["token_ids"] == api.renderer.encode_chat(body["messages"])
    assert rendered["count"] == len(rendered["token_ids"])
    assert rendered["max_model_len"] == 400
    assert rendered["sampling_params"]["seed"] == 5
    assert rendered["sampling_params"]["stop"] == ["x"]
    assert api.generator.requests == []
