"""What is inside a model, over HTTP: a real registry, and attention that is made up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from llmos_server.api.admin.attention import MAX_TOKENS
from llmos_server.errors import EngineFailed, InvalidRequest
from llmos_server.registry.structure import Structure, read_structure

USER = [{"role": "user", "content": "Hi é"}]
HEADS = 4
"""As config.json of the tiny model has it, with two layers."""


class Attention:
    """Instead of the process: head h of layer l weighs every key by l + h / 10."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[int], int]] = []
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.was_cancelled = False

    async def read(self, version: Any, token_ids: Sequence[int], layer: int) -> Any:
        self.asked.append((version.name, list(token_ids), layer))
        if self.error is not None:
            raise self.error
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.was_cancelled = True
                raise
        n = len(token_ids)
        return np.stack([np.full((n, n), layer + head / 10, np.float32) for head in range(HEADS)])


@pytest.fixture
def attention() -> Attention:
    return Attention()


@pytest.fixture
def seen(make_house: Callable[..., Any], attention: Attention) -> Any:
    return make_house(read_attention=attention.read)


async def ask(house: Any, **fields: Any) -> Any:
    return await house.http.post("/admin/v1/models/attention", json={"prompt": "abc", **fields})


async def test_the_structure_is_that_of_the_files(house: Any) -> None:
    expected = read_structure(house.registry.get(house.a))
    for query in ({"model": house.a}, {"model": "gpt"}, {}):
        reply = await house.http.get("/admin/v1/models/structure", params=query)
        assert msgspec.json.decode(reply.content, type=Structure) == expected
    assert expected.config["num_heads"] == HEADS
    reply = await house.http.get("/admin/v1/models/structure", params={"model": "none"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


async def test_the_template_is_told_with_its_file(house: Any) -> None:
    written = house.files.tiny_metadata()["tokenizer.chat_template"]
    reply = (await house.http.get("/admin/v1/models/template", params={"model": house.b})).json()
    assert reply == {"model": house.b, "template": written, "source": "chat_template.jinja"}
    house.files.write_gguf(house.folder / "c.gguf", metadata={"tokenizer.chat_template": None})
    name = f"file:{house.folder}/c.gguf"
    house.registry.pull(name, house.files.RecordingProgress())
    reply = (await house.http.get("/admin/v1/models/template", params={"model": name})).json()
    assert reply == {"model": name, "template": None, "source": None}


async def test_a_preview_is_what_the_model_gets(house: Any) -> None:
    """The same tokens as /tokenize gives, one by one."""
    for body in (
        {"messages": USER},
        {"messages": USER, "add_generation_prompt": False},
        {"prompt": "x é"},
        {"prompt": "x", "add_special_tokens": False},
    ):
        reply = (await house.http.post("/admin/v1/models/preview", json={"model": house.a, **body})).json()
        same = (await house.http.post("/tokenize", json={**body, "return_token_strs": True})).json()
        assert [token["id"] for token in reply["tokens"]] == same["tokens"]
        assert [token["text"] for token in reply["tokens"]] == same["token_strs"]
        assert [t["id"] for t in reply["tokens"] if t["is_special"]] == [i for i in same["tokens"] if i >= 256]
        whole = (await house.http.post("/detokenize", json={"tokens": same["tokens"]})).json()
        assert reply["text"] == whole["prompt"]


async def test_what_makes_no_prompt_is_refused(seen: Any) -> None:
    for path in ("preview", "attention"):
        for body, param in (
            ({}, "prompt"),
            ({"prompt": "x", "messages": USER}, "prompt"),
            ({"messages": []}, "messages"),
            ({"messages": USER, "chat_template": "x"}, "chat_template"),
            ({"prompt": "x", "model": 5}, "model"),
        ):
            reply = await seen.http.post(f"/admin/v1/models/{path}", json=body)
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_one_head_and_the_mean_of_all(seen: Any, attention: Attention) -> None:
    found = (await ask(seen, layer=1, head=2)).json()
    assert attention.asked == [(seen.a, [97, 98, 99], 1)]
    assert (found["tokens"], found["token_ids"]) == (["a", "b", "c"], [97, 98, 99])
    assert (found["model"], found["layer"], found["head"]) == (seen.a, 1, 2)
    assert (found["num_layers"], found["num_heads"]) == (2, HEADS)
    assert found["weights"] == [[1.2] * 3] * 3
    found = (await ask(seen, messages=USER, prompt=None, model=seen.b)).json()
    assert (found["layer"], found["head"]) == (0, None)
    assert attention.asked[1][0] == seen.b
    assert found["weights"][0][0] == pytest.approx(0.15)
    assert len(found["weights"]) == len(found["tokens"]) > 3


LIMITS: list[tuple[dict[str, Any], str, str]] = [
    ({"layer": 2}, "layer", "layers 0 to 1, not 2"),
    ({"head": HEADS}, "head", "heads 0 to 3, not 4"),
    ({"layer": -1}, "layer", ">= 0"),
    ({"layer": 0.5}, "layer", "int"),
    ({"prompt": ""}, "prompt", "no tokens"),
    ({"prompt": "x" * (MAX_TOKENS + 1)}, "prompt", "513 tokens"),
    ({"prompt": None, "messages": [{"role": "user", "content": "x" * 999}]}, "messages", "at most 128"),
]


async def test_limits_are_told(seen: Any, attention: Attention) -> None:
    for fields, param, told in LIMITS:
        reply = await ask(seen, **fields)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
        assert told in reply.json()["error"]["message"]
    assert attention.asked == []


async def test_what_goes_wrong_is_told(seen: Any, attention: Attention) -> None:
    attention.error = EngineFailed("It took too long.")
    assert (await ask(seen)).status_code == 503
    attention.error = InvalidRequest("No.", param="model", code="unsupported_value")
    assert (await ask(seen)).json()["error"]["message"] == "No."


async def test_a_client_that_leaves_ends_it(seen: Any, attention: Attention) -> None:
    attention.gate = asyncio.Event()
    left = asyncio.Event()
    parts = iter([{"type": "http.request", "body": b'{"prompt": "abc"}'}])

    async def receive() -> dict[str, Any]:
        if (part := next(parts, None)) is not None:
            return part
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        """Nobody reads."""

    headers = {**seen.http.headers, "host": "127.0.0.1:8000", "content-type": "application/json"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/admin/v1/models/attention",
        "raw_path": b"/admin/v1/models/attention",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "query_string": b"",
        "client": ("127.0.0.1", 1),
    }
    asked = asyncio.create_task(seen.app(scope, receive, send))
    async with asyncio.timeout(20):
        while not attention.asked and not asked.done():
            await asyncio.sleep(0.001)
        left.set()
        await asked
    assert attention.was_cancelled
