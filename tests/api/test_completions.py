"""POST /v1/completions."""

from __future__ import annotations

import json
from typing import Any

import pytest


async def test_answers_in_openais_shape(api):
    body = (await api.complete("Once", max_tokens=3)).json()
    assert body["id"].startswith("cmpl-")
    assert body["object"] == "text_completion"
    assert body["choices"] == [
        {"index": 0, "text": "Hel", "logprobs": None, "finish_reason": "length", "stop_reason": None}
    ]
    assert body["usage"]["prompt_tokens"] == 4


async def test_sixteen_tokens_when_none_is_said(make_api):
    api = make_api("x" * 100)
    assert len((await api.complete()).json()["choices"][0]["text"]) == 16


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("ab", [b"ab"]),
        (["ab", "c"], [b"ab", b"c"]),
        ([97, 98], [b"ab"]),
        ([[97], [98, 99]], [b"a", b"bc"]),
    ],
)
async def test_the_four_forms_of_a_prompt(api, prompt, expected):
    reply = await api.complete(prompt, n=2)
    assert [bytes(request.prompt_ids) for request in api.generator.requests] == expected
    assert [choice["index"] for choice in reply.json()["choices"]] == list(range(2 * len(expected)))


async def test_choices_are_numbered_prompt_major(make_api):
    api = make_api(lambda request, index: [*request.prompt_ids, 48 + index])
    choices = (await api.complete(["a", "b"], n=2)).json()["choices"]
    assert [choice["text"] for choice in choices] == ["a0", "a1", "b0", "b1"]


@pytest.mark.parametrize("prompt", [[], [[]], ["a", [97]], ["a", 97], [300], [-1], [True], {"a": 1}, ["x"] * 300, 5])
async def test_unusable_prompts_are_refused(make_api, prompt):
    renderer = make_api().renderer
    renderer.bos_id = None
    reply = await make_api(renderer=renderer).complete(prompt)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"].startswith("prompt")


async def test_an_empty_prompt_begins_a_text(api, fakes):
    await api.complete("")
    assert api.generator.requests[0].prompt_ids == [fakes.BOS]


async def test_the_special_tokens_before_a_prompt_can_be_left_out(make_api, fakes):
    api = make_api(renderer=fakes.ByteRenderer(adds_bos=True))
    await api.complete("a")
    await api.complete("a", add_special_tokens=False)
    assert [request.prompt_ids for request in api.generator.requests] == [[fakes.BOS, 97], [97]]


async def test_echo_with_logprobs_and_no_answer(api):
    """What lm-evaluation-harness reads."""
    [choice] = (await api.complete("Onç", echo=True, logprobs=2, max_tokens=0)).json()["choices"]
    assert choice["text"] == "Onç"
    assert choice["finish_reason"] == "length"
    logprobs = choice["logprobs"]
    assert logprobs["tokens"] == ["O", "n", "bytes:\\xc3", "bytes:\\xa7"]
    assert logprobs["text_offset"] == [0, 1, 2, 3]
    assert logprobs["token_logprobs"][0] is None
    assert logprobs["top_logprobs"][0] is None
    assert all(value < 0 for value in logprobs["token_logprobs"][1:])
    assert logprobs["top_logprobs"][1]["n"] == logprobs["token_logprobs"][1]
    assert api.generator.requests[0].sampling.prompt_logprobs == 2


async def test_echo_goes_before_the_answer(make_api, fakes):
    api = make_api("!!", renderer=fakes.ByteRenderer(adds_bos=True))
    [choice] = (await api.complete("ab", echo=True, logprobs=0, max_tokens=2)).json()["choices"]
    assert choice["text"] == "ab!!"
    assert choice["logprobs"]["tokens"] == ["<bos>", "a", "b", "!", "!"]
    assert choice["logprobs"]["text_offset"] == [0, 0, 1, 2, 3]
    assert choice["logprobs"]["top_logprobs"] == [None, {}, {}, {}, {}]


async def test_an_answer_that_ends_at_once_still_has_an_entry_after_the_prompts(make_api):
    """lm-evaluation-harness asks for one token and cuts the last entry off: without one, it would lose the prompt's."""
    [choice] = (await make_api("").complete("ab", echo=True, logprobs=1, max_tokens=1)).json()["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("ab", "stop")
    logprobs = choice["logprobs"]
    assert logprobs["tokens"] == ["a", "b", "<eos>"]
    assert logprobs["text_offset"] == [0, 1, 2]
    assert logprobs["top_logprobs"][2]["<eos>"] == logprobs["token_logprobs"][2]


@pytest.mark.parametrize(("skips", "offsets"), [(True, [0, 1, 1, 2]), (False, [0, 1, 7, 8])])
async def test_special_tokens_that_the_text_leaves_out_take_no_place_in_it(make_api, fakes, skips, offsets):
    api = make_api(lambda request, index: [*b"a", fakes.TURN, *b"b"])
    [choice] = (await api.complete(logprobs=0, skip_special_tokens=skips)).json()["choices"]
    assert choice["text"] == ("ab" if skips else "a<turn>b")
    assert choice["logprobs"]["tokens"] == ["a", "<turn>", "b", "<eos>"]
    assert choice["logprobs"]["text_offset"] == offsets


async def test_echo_without_logprobs_asks_for_none(api):
    [choice] = (await api.complete([97, 98], echo=True)).json()["choices"]
    assert choice["text"] == "abHello"
    assert choice["logprobs"] is None
    assert api.generator.requests[0].sampling.prompt_logprobs is None


async def test_best_of_takes_the_likeliest_per_token(make_api, fakes):
    texts = [b"zz", b"a", b"qqq", b"m"]
    api = make_api(lambda request, index: texts[index])
    body = (await api.complete(best_of=4, n=2)).json()

    def score(text: bytes) -> float:
        return sum(fakes.logprob_of(token, place, 0).logprob for place, token in enumerate(text)) / len(text)

    best = sorted(texts, key=score, reverse=True)[:2]
    assert [choice["text"].encode() for choice in body["choices"]] == best
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    assert all(choice["logprobs"] is None for choice in body["choices"])
    assert body["usage"]["completion_tokens"] == sum(map(len, texts))


@pytest.mark.parametrize("options", [{"best_of": 1, "n": 2}, {"best_of": 2, "stream": True}, {"best_of": 999}])
async def test_best_of_that_cannot_be(api, options):
    reply = await api.complete(**options)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "best_of")


async def test_equal_prompts_get_seeds_of_their_own_unless_one_is_given(api):
    await api.complete(["a", "a"])
    await api.complete(["a", "a"], seed=3)
    free, other, *given = [request.sampling.seed for request in api.generator.requests]
    assert free != other
    assert given == [3, 3]


async def test_a_prompt_may_fill_the_context_when_no_token_is_asked_for(make_api):
    api = make_api(max_model_len=10)
    assert (await api.complete("x" * 10, max_tokens=0, echo=True)).status_code == 200
    assert (await api.complete("x" * 10, max_tokens=1)).json()["error"]["code"] == "context_length_exceeded"
    reply = await api.complete(["x", "x" * 11])
    assert reply.json()["error"]["param"] == "prompt[1]"


async def test_a_refused_prompt_takes_the_others_back(api):
    from llmos_server.errors import EngineBusy

    submit = api.generator.submit

    def refuse_second(request):
        if api.generator.requests:
            raise EngineBusy("The queue is full.", retry_after=2.5)
        return submit(request)

    api.generator.submit = refuse_second
    reply = await api.complete(["a", "b"])
    assert (reply.status_code, reply.json()["error"]["code"]) == (429, "queue_full")
    assert reply.headers["Retry-After"] == "3"
    assert api.generator.generations[0].aborted.is_set()


@pytest.mark.parametrize(
    ("options", "text", "generated"),
    [
        ({}, "Hello", [*b"Hello", 256]),
        ({"stop": "l"}, "He", [*b"He"]),
        ({"stop": "llo", "max_tokens": 3}, "Hel", [*b"Hel"]),
        ({"stop_token_ids": [ord("o")]}, "Hell", [*b"Hello"]),
    ],
)
async def test_token_ids_are_those_that_the_text_comes_from(make_api, options, text, generated):
    """Whole and streamed alike, with a log-probability for each."""
    fields = {"logprobs": 0, "return_token_ids": True, **options}
    [choice] = (await make_api().complete("ab", **fields)).json()["choices"]
    assert (choice["text"], choice["token_ids"], choice["prompt_token_ids"]) == (text, generated, [*b"ab"])
    assert len(choice["logprobs"]["token_logprobs"]) == len(generated)
    chunks = _chunks(await make_api().complete("ab", stream=True, **fields))
    assert [id for chunk in chunks for id in chunk["token_ids"]] == generated
    assert [chunk["prompt_token_ids"] for chunk in chunks if "prompt_token_ids" in chunk] == [[*b"ab"]]


async def test_token_ids_of_chats(make_api):
    """Of text that a parser holds back, too; the prompt's are beside the choices."""
    look = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    for options in ({}, {"tools": [look]}, {"n": 2}):
        api = make_api(max_model_len=4000)
        whole = (await api.chat(return_token_ids=True, **options)).json()
        assert whole["prompt_token_ids"] == api.generator.requests[0].prompt_ids
        assert all(choice["token_ids"] == [*b"Hello", 256] for choice in whole["choices"])
        chunks = _chunks(await api.chat(stream=True, return_token_ids=True, **options))
        for index in range(options.get("n", 1)):
            of_choice = [chunk for chunk in chunks if chunk["index"] == index]
            assert [id for chunk in of_choice for id in chunk.get("token_ids", [])] == [*b"Hello", 256]


async def test_no_token_ids_unless_they_are_asked_for(api):
    assert "token_ids" not in (await api.complete()).text
    assert "token_ids" not in (await api.chat(stream=True, return_token_ids=False)).text


def _chunks(reply: Any) -> list[Any]:
    """Choices of a stream, one after the other."""
    events = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: {")]
    return [choice for event in events for choice in json.loads(event)["choices"]]
