"""The real encoder behind the real server, against Transformers on the same texts."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
import openai
import pytest

from llmos_server.contracts import ModelVersion

pytestmark = pytest.mark.real_model

MODEL = "all-minilm-l6-v2"
TOLERANCE = 1e-4
WORDS = (
    "the", "quick", "brown", "fox", "naïve", "東京", "embedding", "vector", "don't", "1,024", "fußball", "emoji", "🙂",
    "[mask", "e.g.", "quantum", "river", "bank", "interest", "loan", "http://example.org/x?y=1", "\u200b",
    "tabs\tand\nlines", "Καλημέρα", "supercalifragilistic",
)  # fmt: skip


def make_texts(num_words: Sequence[int]) -> list[str]:
    """Another text for each length, the same in every run."""
    return [" ".join(WORDS[(7 * i + 3 * j * j + j) % len(WORDS)] for j in range(n)) for i, n in enumerate(num_words)]


LENGTHS = [1 + (i * i * 3) % 61 for i in range(48)] + [1, 1]
TEXTS = make_texts(LENGTHS)


@pytest.fixture(scope="module")
def reference(minilm: ModelVersion, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], npt.NDArray[Any]]:
    """One text, alone and unpadded, through AutoTokenizer, AutoModel and the mean of all tokens."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = tmp_path_factory.mktemp("minilm")
    for path in (*Path(minilm.folder).glob("*.json"), Path(minilm.weights[0])):
        (folder / path.name).symlink_to(path.resolve())
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def embed(text: str) -> npt.NDArray[Any]:
        encoded = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            mean = model(**encoded).last_hidden_state[0].mean(0)
        return np.asarray(torch.nn.functional.normalize(mean, dim=0))

    return embed


@pytest.fixture(scope="module")
def live(
    minilm: ModelVersion, start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    server = start_server(tmp_path_factory.mktemp("embeddings"), minilm.name)
    server.wait_until_ready()
    yield server
    server.stop()


@pytest.fixture
def client(live: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="x", max_retries=0) as sdk:
        yield sdk


def test_fifty_texts_of_all_lengths_in_one_batch_equal_transformers(
    client: openai.OpenAI, reference: Callable[[str], npt.NDArray[Any]], record_property: Callable[[str, object], None]
) -> None:
    answer = client.embeddings.create(model=MODEL, input=TEXTS)
    ours = np.array([item.embedding for item in answer.data])
    difference = float(np.abs(ours - [reference(text) for text in TEXTS]).max())
    record_property("largest difference to Transformers", f"{difference:.1e}")
    assert ours.shape == (50, 384)
    assert difference < TOLERANCE
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, rtol=1e-5)


def test_a_batch_changes_no_more_than_the_last_bits(client: openai.OpenAI) -> None:
    together = [item.embedding for item in client.embeddings.create(model=MODEL, input=TEXTS[:12]).data]
    alone = [client.embeddings.create(model=MODEL, input=text).data[0].embedding for text in TEXTS[:12]]
    assert np.abs(np.array(together) - alone).max() < 1e-6


def test_tokens_in_the_way_of_langchain_are_the_same_texts(live: Any, client: openai.OpenAI) -> None:
    """langchain-openai counts tokens itself and sends lists of them; here they are the model's own."""
    with httpx2.Client(base_url=live.url) as http:
        replies = [http.post("/tokenize", json={"model": MODEL, "prompt": text}) for text in TEXTS[:5]]
    tokens = [reply.json()["tokens"] for reply in replies]
    assert all(row[0] == 101 and row[-1] == 102 for row in tokens)
    by_text = client.embeddings.create(model=MODEL, input=TEXTS[:5])
    by_tokens = client.embeddings.create(model=MODEL, input=tokens)
    assert [item.embedding for item in by_tokens.data] == [item.embedding for item in by_text.data]
    assert by_tokens.usage == by_text.usage
    assert by_text.usage.prompt_tokens == sum(map(len, tokens))


def test_a_long_text_is_refused_or_cut_as_transformers_cuts(
    client: openai.OpenAI, reference: Callable[[str], npt.NDArray[Any]]
) -> None:
    (text,) = make_texts([400])
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model=MODEL, input=["short", text])
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "input[1]")
    raw = client.embeddings.with_raw_response.create(
        model=MODEL, input=["short", text], extra_body={"truncate_prompt_tokens": -1}
    )
    assert raw.headers["X-LLMOS-Truncated-Inputs"] == "1"
    ours = raw.parse().data[1].embedding
    assert np.abs(np.array(ours) - reference(text)).max() < TOLERANCE


async def test_the_async_sdk_and_bare_base64(live: Any) -> None:
    async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="x") as client:
        answer = await client.embeddings.create(model=MODEL, input="Hello")
    with httpx2.Client(base_url=live.url) as http:
        body = {"model": MODEL, "input": "Hello", "encoding_format": "base64"}
        packed = http.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    assert list(struct.unpack("<384f", base64.b64decode(packed))) == answer.data[0].embedding


def test_similar_texts_are_near(client: openai.OpenAI) -> None:
    """What embeddings are for; no arithmetic of ours would tell if pooling were wrong in the same way on both sides."""
    texts = ["How do I reset my password?", "I forgot my login credentials", "The cat sat on the mat"]
    query, near, far = (np.array(item.embedding) for item in client.embeddings.create(model=MODEL, input=texts).data)
    assert query @ near > query @ far + 0.3


def test_an_encoder_is_listed_as_one_and_chats_with_nobody(live: Any, client: openai.OpenAI) -> None:
    with httpx2.Client(base_url=live.url) as http:
        listed = {model["id"]: model for model in http.get("/v1/models").json()["data"]}
    assert listed[MODEL]["capabilities"] == ["embeddings", "rerank", "score", "tokenize"]
    assert listed[MODEL]["max_model_len"] == 256
    with pytest.raises(openai.BadRequestError, match="/v1/embeddings"):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hi"}])
