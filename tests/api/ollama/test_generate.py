"""POST /api/generate."""

from __future__ import annotations

from typing import Any

import pytest


async def generate(api: Any, **fields: Any) -> Any:
    return await api.post("/api/generate", {"model": "tiny", "prompt": "Hi", "stream": False, **fields})


async def prompt_of(api: Any, **fields: Any) -> str:
    reply = await generate(api, **fields)
    assert reply.status_code == 200, reply.text
    return str(api.renderer.decode(api.generator.requests[-1].prompt_ids, skip_special_tokens=False))


async def test_a_prompt_goes_through_the_template(api: Any) -> None:
    assert await prompt_of(api) == "<turn>user:Hi\n<turn>assistant:"
    assert await prompt_of(api, system="Be brief.") == "<turn>system:Be brief.\n<turn>user:Hi\n<turn>assistant:"
    found = (await generate(api)).json()
    assert (found["response"], found["done_reason"], found["eval_count"]) == ("Hello", "stop", 5)


async def test_a_raw_prompt_does_not(api: Any) -> None:
    assert await prompt_of(api, raw=True) == "Hi"
    for name in ("system", "think"):
        reply = await generate(api, raw=True, **{name: "x"})
        assert reply.status_code == 400
        assert reply.json()["error"].startswith(f"{name}: ")
    reply = await generate(api, raw=True, truncate=True)
    assert reply.headers["X-LLMOS-Ignored"] == "truncate"


async def test_a_model_without_a_template_gets_every_prompt_raw(make_api: Any, fakes: Any) -> None:
    api = make_api(renderer=fakes.ByteRenderer(has_template=False))
    assert await prompt_of(api) == "Hi"


@pytest.mark.parametrize("raw", [False, True])
async def test_options_hold_raw_as_not(api: Any, raw: bool) -> None:
    found = (await generate(api, raw=raw, options={"num_predict": 2, "temperature": 0}, logprobs=True)).json()
    assert (found["response"], found["done_reason"], len(found["logprobs"])) == ("He", "length", 2)
    assert api.generator.requests[0].sampling.temperature == 0
    found = (await generate(api, raw=raw, format="json")).json()
    assert api.generator.requests[-1].sampling.grammar
    reply = await generate(api, raw=raw, options={"num_ctx": 5}, prompt="x" * 300)
    assert reply.status_code == 400


async def test_a_prompt_that_is_too_long_for_the_window(make_api: Any) -> None:
    api = make_api("x" * 100)
    found = (await generate(api, raw=True, options={"num_ctx": 10})).json()
    assert (found["prompt_eval_count"], found["eval_count"]) == (2, 8)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"suffix": "x"}, "suffix"),
        ({"template": "x"}, "template"),
        ({"context": [1, 2]}, "send the turns before as messages to /api/chat"),
        ({"images": ["aGk="]}, "images"),
        ({"width": 64}, "width"),
        ({"prompt": 5}, "prompt"),
    ],
)
async def test_what_has_no_meaning_here_is_refused_by_name(api: Any, fields: dict[str, Any], words: str) -> None:
    reply = await generate(api, **fields)
    assert reply.status_code == 400
    assert words in reply.json()["error"]


async def test_what_the_python_package_sends_when_nothing_is_set(api: Any) -> None:
    reply = await generate(api, suffix="", system="", template="", context=[], images=[], raw=False)
    assert reply.status_code == 200
    assert "X-LLMOS-Ignored" not in reply.headers


async def test_thinking_has_a_field_of_its_own(make_api: Any, fakes: Any) -> None:
    api = make_api("<think>Hm.</think>Yes.", renderer=fakes.ByteRenderer(template="<think></think>"))
    found = (await generate(api)).json()
    assert (found["thinking"], found["response"]) == ("Hm.", "Yes.")


@pytest.mark.parametrize("prompt", ["", None])
async def test_without_a_prompt_the_model_is_loaded(api: Any, prompt: str | None) -> None:
    found = (await generate(api, prompt=prompt)).json()
    assert (found["response"], found["done"], found["done_reason"]) == ("", True, "load")
    assert api.generator.requests == []


async def test_an_encoder_generates_nothing_but_can_be_loaded(make_api: Any, fakes: Any) -> None:
    api = make_api(encoder=fakes.ScriptedEncoder())
    reply = await generate(api, model="small")
    assert reply.status_code == 400
    assert (await generate(api, model="small", prompt="")).json()["done_reason"] == "load"
