"""POST /api/embed and /api/embeddings."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def small(make_api: Any, fakes: Any) -> Any:
    return make_api(encoder=fakes.ScriptedEncoder())


async def embed(api: Any, **fields: Any) -> Any:
    return await api.post("/api/embed", {"model": "small", **fields})


async def test_texts_become_vectors_in_order(small: Any) -> None:
    found = (await embed(small, input=["a", "bc"])).json()
    assert found["embeddings"] == [[1, 97, 97, 1], [2, 98 + 99, 98, 1]]
    assert (found["model"], found["prompt_eval_count"]) == ("small", 3)
    assert found["total_duration"] >= found["load_duration"] > 0
    assert (await embed(small, input="a", model="small:latest")).json()["embeddings"] == [[1, 97, 97, 1]]
    assert (await small.post("/api/embeddings", {"model": "small", "prompt": "a"})).json() == {
        "embedding": [1, 97, 97, 1]
    }


async def test_long_texts_are_cut_and_told_unless_that_is_refused(small: Any) -> None:
    for fields in ({}, {"truncate": True}):
        reply = await embed(small, input=["x" * 50, "y"], **fields)
        assert [vector[0] for vector in reply.json()["embeddings"]] == [20, 1]
        assert reply.headers["X-LLMOS-Truncated-Inputs"] == "1"
    reply = await embed(small, input=["x" * 50, "y"], truncate=False)
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("input[0] has 50 tokens")
    assert '"truncate": true' in reply.json()["error"]
    assert (await small.post("/api/embeddings", {"model": "small", "prompt": "x" * 50})).json()["embedding"][0] == 20


async def test_dimensions(make_api: Any, fakes: Any) -> None:
    api = make_api(encoder=fakes.ScriptedEncoder(is_matryoshka=True))
    assert len((await embed(api, input="a", dimensions=2)).json()["embeddings"][0]) == 2
    assert (await embed(make_api(encoder=fakes.ScriptedEncoder()), input="a", dimensions=2)).status_code == 400


@pytest.mark.parametrize("empty", ["", []])
async def test_without_a_text_the_model_is_loaded(small: Any, empty: Any) -> None:
    assert (await embed(small, input=empty)).json()["embeddings"] == []
    assert (await small.post("/api/embeddings", {"model": "small"})).json() == {"embedding": []}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": ["a", ""]}, "input[1] is empty"),
        ({"input": ["a"] * 2049}, "2048"),
        ({"input": "a", "model": "tiny"}, "gives no embeddings"),
        ({"input": "", "model": "tiny"}, "gives no embeddings"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "keep_alive": "x"}, "keep_alive"),
    ],
)
async def test_what_cannot_be_embedded_is_refused(small: Any, fields: dict[str, Any], words: str) -> None:
    reply = await embed(small, **fields)
    assert reply.status_code == 400
    assert words in reply.json()["error"]


async def test_options_and_keep_alive_are_told(small: Any) -> None:
    reply = await embed(small, input="a", options={"num_ctx": 512}, keep_alive=300)
    assert reply.status_code == 200
    assert set(reply.headers["X-LLMOS-Ignored"].split(", ")) == {"options", "keep_alive"}


async def test_an_encoder_that_fails_is_an_error_of_this_form(small: Any) -> None:
    from llmos_server.errors import EngineFailed

    small.app.state.services.directory.list()[1].engine.error = EngineFailed("It died.")
    reply = await embed(small, input="a")
    assert (reply.status_code, reply.json()) == (503, {"error": "It died."})
