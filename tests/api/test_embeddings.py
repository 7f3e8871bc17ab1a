"""/v1/embeddings over a scripted encoder whose vectors tell what they are of: [tokens, their sum, the first, 1]."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import numpy as np
import openai
import pytest

from llmos_server.access.gate import Gate
from llmos_server.api.app import create_api
from llmos_server.api.served import ModelDirectory, ServedModel
from llmos_server.errors import EngineBusy, EngineFailed, ModelFault
from llmos_server.settings import ApiSettings

BOS = 257


class EmbeddingApi:
    """An app over the encoder "small" (alias "text-embedding-3-small") and the decoder "tiny", and a client for it."""

    def __init__(self, fakes: Any, gate: Gate | None = None, **info: Any) -> None:
        self.encoder = fakes.ScriptedEncoder(**info)
        renderer = fakes.ByteRenderer(has_template=False, adds_bos=True)
        small = ServedModel(id="small", created=1, renderer=renderer, engine=self.encoder, kind="encoder")
        tiny = ServedModel(id="tiny", created=1, renderer=fakes.ByteRenderer(), engine=fakes.ScriptedGenerator())
        directory = ModelDirectory([tiny, small], aliases={"text-embedding-3-small": "small"})
        self.app = create_api(directory, ApiSettings(), gate=gate, embedding_default="small")
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url="http://127.0.0.1:8000")

    async def embed(self, text: Any = "ab", *, headers: dict[str, str] | None = None, **fields: Any) -> httpx2.Response:
        body = {"model": "small", "input": text, **fields}
        return await self.http.post("/v1/embeddings", json=body, headers=headers)

    async def refusal(self, text: Any = "ab", **fields: Any) -> tuple[int, str | None, str, str]:
        reply = await self.embed(text, **fields)
        error = reply.json()["error"]
        assert self.encoder.requests == []
        return reply.status_code, error["param"], error["code"], error["message"]


@pytest.fixture
async def make(fakes: Any) -> AsyncIterator[Callable[..., EmbeddingApi]]:
    async with AsyncExitStack() as stack:

        def make_api(**info: Any) -> EmbeddingApi:
            api = EmbeddingApi(fakes, **info)
            stack.push_async_callback(api.http.aclose)
            return api

        yield make_api


@pytest.fixture
def small(make: Callable[..., EmbeddingApi]) -> EmbeddingApi:
    return make()


def ids(text: str) -> list[int]:
    return [BOS, *text.encode()]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ab", [ids("ab")]),
        (["ab", "c"], [ids("ab"), ids("c")]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        ([" "], [ids(" ")]),
    ],
)
async def test_the_four_forms_of_input(small: EmbeddingApi, given: Any, expected: list[list[int]]) -> None:
    reply = await small.embed(given)
    assert reply.status_code == 200, reply.text
    (request,) = small.encoder.requests
    assert request.inputs == expected
    num_tokens = sum(map(len, expected))
    assert reply.json() == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": i, "embedding": [len(row), sum(row), row[0], 1]}
            for i, row in enumerate(expected)
        ],
        "model": "small",
        "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
    }
    assert "X-LLMOS-Truncated-Inputs" not in reply.headers
    assert small.encoder.num_holds == 0


async def test_base64_is_the_same_floats(small: EmbeddingApi) -> None:
    floats = (await small.embed(["ab", "c"], encoding_format="float")).json()["data"]
    packed = (await small.embed(["ab", "c"], encoding_format="base64")).json()["data"]
    for one, other in zip(floats, packed, strict=True):
        assert list(struct.unpack("<4f", base64.b64decode(other["embedding"]))) == one["embedding"]


async def test_the_stock_sdk_asks_for_base64_and_gets_floats(small: EmbeddingApi) -> None:
    client = openai.AsyncOpenAI(base_url="http://127.0.0.1:8000/v1", api_key="x", http_client=small.http, max_retries=0)
    answer = await client.embeddings.create(model="text-embedding-3-small", input=["ab", "c"], user="u")
    assert [item.embedding for item in answer.data] == [[3, BOS + 97 + 98, BOS, 1], [2, BOS + 99, BOS, 1]]
    assert (answer.model, answer.usage.prompt_tokens) == ("small", 5)


def test_the_sync_sdk_over_a_socket(small: EmbeddingApi, run_app: Any) -> None:
    with run_app(small.app) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="x") as client:
        answer = client.embeddings.create(model="small", input=[[7, 8], [9]])
        assert [item.embedding[:2] for item in answer.data] == [[2, 15], [1, 9]]


async def test_without_a_model_the_setting_tells_which(small: EmbeddingApi) -> None:
    reply = await small.http.post("/v1/embeddings", json={"input": "x"})
    assert reply.json()["model"] == "small"


async def test_the_default_that_is_not_here_says_how_to_get_it(fakes: Any) -> None:
    tiny = ServedModel(id="tiny", created=1, renderer=fakes.ByteRenderer(), engine=fakes.ScriptedGenerator())
    app = create_api(ModelDirectory([tiny]), ApiSettings(), embedding_default="all-minilm-l6-v2")
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        reply = await http.post("/v1/embeddings", json={"input": "x"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
    assert "llmos pull all-minilm-l6-v2" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ("", "input"),
        ([], "input"),
        (["a", ""], "input[1]"),
        ([[1], []], "input[1]"),
        ([["a"]], "input[0][0]"),
        (["a", 1], "input"),
        ([1, "a"], "input"),
        ([1, [2]], "input"),
        ([[1], "a"], "input"),
        ([True], "input[0]"),
        ([1.5], "input[0]"),
        (5, "input"),
        ({"text": "a"}, "input"),
        (["a"] * 2049, "input"),
        ([[1]] * 2049, "input"),
        ([300], "input"),
        ([[1], [-1]], "input[1]"),
        ([[1], [2**63 - 1]], "input[1]"),
    ],
)
async def test_inputs_of_another_shape_are_refused_by_place(small: EmbeddingApi, given: Any, param: str) -> None:
    status, found, _, message = await small.refusal(given)
    assert (status, found) == (400, param), message


async def test_a_missing_input_is_named(small: EmbeddingApi) -> None:
    reply = await small.http.post("/v1/embeddings", json={"model": "small"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "input")


async def test_foreign_token_ids_say_what_to_do(small: EmbeddingApi) -> None:
    *_, message = await small.refusal([[100256]])
    assert "check_embedding_ctx_length=False" in message


async def test_as_many_inputs_as_openai_takes(small: EmbeddingApi) -> None:
    reply = await small.embed([[i % 200] for i in range(2048)])
    assert [item["embedding"][1] for item in reply.json()["data"]] == [i % 200 for i in range(2048)]


async def test_too_long_is_refused_with_its_place_and_by_how_much(small: EmbeddingApi) -> None:
    status, param, code, message = await small.refusal(["short", "x" * 22])
    assert (status, param, code) == (400, "input[1]", "context_length_exceeded")
    assert "23 tokens, 3 more than this model takes (20" in message
    assert "truncate_prompt_tokens: -1" in message
    status, param, *_ = await small.refusal([1] * 21)
    assert (status, param) == (400, "input")


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"truncate_prompt_tokens": -1}, ids("abcdefghijklmnopqrs")),
        ({"truncate_prompt_tokens": 4}, ids("abc")),
        ({"truncate_prompt_tokens": 4, "truncation_side": "left"}, ids("xyz")),
        ({"truncate_prompt_tokens": 20, "truncation_side": "right"}, ids("abcdefghijklmnopqrs")),
    ],
)
async def test_truncation_on_request_is_done_and_told(small: EmbeddingApi, fields: Any, kept: list[int]) -> None:
    reply = await small.embed(["abc", "abcdefghijklmnopqrstuvwxyz"], **fields)
    assert small.encoder.requests[0].inputs == [ids("abc"), kept]
    assert reply.headers["X-LLMOS-Truncated-Inputs"] == "1"
    assert reply.json()["usage"] == {
        "prompt_tokens": 4 + len(kept),
        "total_tokens": 4 + len(kept),
        "truncated_inputs": 1,
    }


async def test_truncation_that_cut_nothing_says_so(small: EmbeddingApi) -> None:
    reply = await small.embed("abc", truncate_prompt_tokens=-1)
    assert reply.headers["X-LLMOS-Truncated-Inputs"] == "0"
    assert reply.json()["usage"]["truncated_inputs"] == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"truncate_prompt_tokens": 21}, "truncate_prompt_tokens"),
        ({"truncate_prompt_tokens": 1}, "truncate_prompt_tokens"),
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
        ({"truncate_prompt_tokens": -2}, "truncate_prompt_tokens"),
        ({"truncation_side": "left"}, "truncation_side"),
        ({"truncation_side": "middle"}, "truncation_side"),
        ({"truncate": True}, "truncate"),
        ({"truncate": "END"}, "truncate"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 5}, "dimensions"),
        ({"dimensions": 2}, "dimensions"),
        ({"input_type": "query"}, "input_type"),
        ({"normalize": False}, "normalize"),
        ({"embed_dtype": "float16"}, "embed_dtype"),
        ({"add_special_tokens": False}, "add_special_tokens"),
        ({"model": "tiny"}, "model"),
        ({"model": 5}, "model"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(small: EmbeddingApi, fields: Any, param: str) -> None:
    status, found, _, message = await small.refusal(**fields)
    assert (status, found) == (400, param), message
    assert param in message or param == "model"


async def test_a_decoder_is_told_where_to_go(small: EmbeddingApi) -> None:
    *_, message = await small.refusal(model="tiny")
    assert "/v1/chat/completions" in message


async def test_unknown_fields_are_told_and_hints_have_no_effect(small: EmbeddingApi) -> None:
    reply = await small.embed(user="u", metadata={"a": "b"}, keep_alive="5m", dimensions=None)
    assert reply.headers["X-LLMOS-Ignored"] == "keep_alive"
    assert (await small.embed(truncate=False, priority=0, embed_dtype="float32")).status_code == 200


async def test_a_matryoshka_models_embeddings_are_cut_and_normalised(make: Callable[..., EmbeddingApi]) -> None:
    api = make(is_matryoshka=True)
    for encoding_format in ("float", "base64"):
        reply = await api.embed([[3, 4]], dimensions=2, encoding_format=encoding_format)
        found = reply.json()["data"][0]["embedding"]
        vector = found if encoding_format == "float" else struct.unpack("<2f", base64.b64decode(found))
        np.testing.assert_allclose(vector, np.array([2, 7]) / np.hypot(2, 7), rtol=1e-6)
    assert len((await api.embed(dimensions=4)).json()["data"][0]["embedding"]) == 4
    assert (await api.embed(dimensions=5)).json()["error"]["param"] == "dimensions"


async def test_matryoshka_lengths_are_those_that_were_trained(make: Callable[..., EmbeddingApi]) -> None:
    api = make(is_matryoshka=True, matryoshka_dimensions=[2])
    assert len((await api.embed(dimensions=2)).json()["data"][0]["embedding"]) == 2
    refused = (await api.embed(dimensions=3)).json()["error"]
    assert "trained for 2 and 4" in refused["message"]


@pytest.mark.parametrize(
    ("error", "state", "status", "code"),
    [
        (EngineBusy("full", retry_after=3), "ready", 429, "queue_full"),
        (EngineBusy("restarting"), "restarting", 503, "engine_busy"),
        (EngineFailed("died", retry_after=2), "ready", 503, "engine_failed"),
        (ModelFault("no number"), "ready", 500, "server_error"),
    ],
)
async def test_failures_of_the_engine(
    small: EmbeddingApi, error: Exception, state: Any, status: int, code: str
) -> None:
    small.encoder.error, small.encoder.state = error, state
    reply = await small.embed()
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert small.encoder.num_holds == 0


async def test_metrics_count_requests_and_tokens(small: EmbeddingApi) -> None:
    await small.embed(["ab", "c"])
    await small.embed("")
    small.encoder.error = EngineFailed("died")
    await small.embed("d")
    text = (await small.http.get("/metrics")).text
    assert 'llmos:prompt_tokens_total{model_name="small"} 7.0' in text
    assert 'llmos:request_success_total{finished_reason="stop",model_name="small"} 1.0' in text
    assert 'llmos:request_success_total{finished_reason="error",model_name="small"} 1.0' in text
    assert 'llmos:e2e_request_latency_seconds_count{model_name="small"} 2.0' in text


def test_a_client_that_leaves_gives_the_work_up(small: EmbeddingApi, run_app: Any) -> None:
    small.encoder.gate = asyncio.Event()  # Never set.
    with run_app(small.app) as url:
        with pytest.raises(httpx2.TimeoutException), httpx2.Client(timeout=0.5) as http:
            http.post(f"{url}/v1/embeddings", json={"model": "small", "input": "x"})
        assert small.encoder.cancelled.wait(20)
        metrics = httpx2.get(f"{url}/metrics").text
    assert 'request_success_total{finished_reason="abort",model_name="small"} 1.0' in metrics


async def test_each_key_is_an_owner_of_its_own(make: Callable[..., EmbeddingApi], fakes: Any) -> None:
    """Owners share an engine evenly."""
    keys = fakes.MemoryKeys()
    api = make(gate=Gate(keys))
    for secret in (keys.add(), keys.add()):
        reply = await api.embed(headers={"Authorization": f"Bearer {secret}"})
        assert reply.status_code == 200, reply.text
    assert sorted(request.owner for request in api.encoder.requests) == sorted(keys.stored)
    assert (await api.embed()).status_code == 401
