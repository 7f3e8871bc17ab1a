"""Decoders and encoders side by side: each is sent to the endpoints of its kind."""

from __future__ import annotations

import contextlib

import httpx2
import pytest

from llmos_server.api.app import create_api
from llmos_server.api.served import ModelDirectory, ServedModel
from llmos_server.contracts import EncoderInfo
from llmos_server.errors import InvalidRequest
from llmos_server.settings import ApiSettings

MESSAGES = [{"role": "user", "content": "x"}]


class ReadyEncoder:
    """What the endpoints of other kinds ask of an encoder."""

    state = "ready"
    info = EncoderInfo(
        model_digest="sha256:" + "cd" * 32,
        architecture="scripted",
        dtype="float32",
        device="cpu",
        vocab_size=300,
        max_input_tokens=77,
        num_dimensions=4,
        load_seconds=0.0,
    )

    def hold(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


@pytest.fixture
def directory(fakes) -> ModelDirectory:
    renderer = fakes.ByteRenderer(has_template=False)
    encoder = ServedModel(id="small", created=1, renderer=renderer, engine=ReadyEncoder(), kind="encoder")
    decoder = ServedModel(id="tiny", created=1, renderer=fakes.ByteRenderer(), engine=fakes.ScriptedGenerator())
    return ModelDirectory([encoder, decoder])


@pytest.fixture
async def http(directory: ModelDirectory):
    app = create_api(directory, ApiSettings())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1:8000") as client:
        yield client


async def test_both_kinds_are_listed_with_what_they_can_do(http: httpx2.AsyncClient) -> None:
    decoder, encoder = (await http.get("/v1/models")).json()["data"]
    assert (decoder["id"], decoder["max_model_len"]) == ("tiny", 400)
    assert (encoder["id"], encoder["max_model_len"], encoder["state"]) == ("small", 77, "ready")
    assert "embeddings" not in decoder["capabilities"]
    assert encoder["capabilities"] == ["embeddings", "rerank", "score", "tokenize"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"), [("/v1/chat/completions", {"messages": MESSAGES}), ("/v1/completions", {"prompt": "x"})]
)
async def test_an_encoder_is_asked_for_no_text(http: httpx2.AsyncClient, path: str, body: dict, stream: bool) -> None:
    reply = await http.post(path, json={"model": "small", "stream": stream, **body})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "model"
    assert "/v1/embeddings" in reply.json()["error"]["message"]


async def test_an_encoder_tokenizes_and_is_in_the_metrics_as_a_request_only(http: httpx2.AsyncClient) -> None:
    reply = await http.post("/tokenize", json={"model": "small", "prompt": "ab"})
    assert reply.json() == {"count": 2, "max_model_len": 77, "tokens": [97, 98], "token_strs": None}
    assert 'num_requests_running{model_name="tiny"}' in (await http.get("/metrics")).text


async def test_ready_is_about_the_default_model_of_either_kind(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/ready")).status_code == 200


async def test_a_decoder_is_asked_for_no_embeddings(directory: ModelDirectory) -> None:
    served = await directory.get("tiny")
    with pytest.raises(InvalidRequest, match="/v1/completions") as caught:
        _ = served.encoder
    assert caught.value.param == "model"
    assert (await directory.get("small")).encoder.info is ReadyEncoder.info
