"""Tiny random classifiers behind the real server, against Transformers on the same texts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from llmos_server.registry.progress import create_progress
from llmos_server.registry.registry import Registry

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "paris",
    "is",
    "the",
    "capital",
    "of",
    "france",
    "fish",
    "swim",
    "in",
    "rivers",
    "why",
]
TOLERANCE = 1e-5
QUERY = "capital of France"
DOCUMENTS = ["Paris is the capital", "Fish swim in rivers", "why", "[SEP] Paris [SEP]", "the " * 40]
SENTIMENTS = {0: "bad", 1: "good", 2: "odd"}


def save(folder: Path, **config: Any) -> tuple[Any, Any]:
    """A cross-encoder or classifier as Transformers saves it: its tokenizer and its model."""
    vocabulary = {word: place for place, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **named)
    torch.manual_seed(4)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
            max_position_embeddings=64, initializer_range=0.4, **config,
        )
    ).eval()  # fmt: skip
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return fast, model


def outputs(saved: tuple[Any, Any], *texts: str) -> torch.Tensor:
    """What spells a special token in a text is text, as in the server."""
    tokenizer, model = saved
    encoded = tokenizer(*texts, return_tensors="pt", return_token_type_ids=True, split_special_tokens=True)
    with torch.inference_mode():
        logits: torch.Tensor = model(**encoded).logits[0]
    return logits


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("classifiers")
    cross = save(folder / "cross", num_labels=1)
    return {"folder": folder, "cross": cross, "kinds": save(folder / "kinds", num_labels=3, id2label=SENTIMENTS)}


@pytest.fixture(scope="module")
def client(
    checkpoints: dict[str, Any], start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx2.Client]:
    home, folder = tmp_path_factory.mktemp("home"), checkpoints["folder"]
    aliases = {name: f"file:{folder / name}" for name in ("cross", "kinds")}
    Registry(home, {}, 1.0).pull(aliases["kinds"], create_progress())
    env = {"LLMOS_HOME": str(home), "LLMOS_MODELS__ALIASES": json.dumps(aliases)}
    server = start_server(tmp_path_factory.mktemp("server"), aliases["cross"], env=env)
    server.wait_until_ready()
    with httpx2.Client(base_url=server.url, timeout=120) as client:
        yield client
    server.stop()


def test_a_cross_encoder_ranks_as_transformers_does(client: httpx2.Client, checkpoints: dict[str, Any]) -> None:
    body = {"model": "cross", "query": QUERY, "documents": DOCUMENTS}
    reply = client.post("/v1/rerank", json=body)
    assert reply.status_code == 200, reply.text
    expected = [float(outputs(checkpoints["cross"], QUERY, document).sigmoid()) for document in DOCUMENTS]
    found = {result["index"]: result["relevance_score"] for result in reply.json()["results"]}
    assert [found[place] for place in range(len(DOCUMENTS))] == pytest.approx(expected, abs=TOLERANCE)
    assert [result["index"] for result in reply.json()["results"]] == sorted(found, key=lambda place: -expected[place])
    assert max(expected) - min(expected) > 0.01, "the documents are too similar to tell anything"
    raw = client.post(
        "/v1/score", json={"text_1": QUERY, "text_2": DOCUMENTS, "model": "cross", "use_activation": False}
    )
    scores = [item["score"] for item in raw.json()["data"]]
    assert scores == pytest.approx(
        [float(outputs(checkpoints["cross"], QUERY, text)) for text in DOCUMENTS], abs=TOLERANCE
    )


def test_the_skill_classification_asks_it(client: httpx2.Client, checkpoints: dict[str, Any]) -> None:
    body = {"text": "Paris is the capital", "labels": ["odd", "bad", "good"], "model": "kinds"}
    reply = client.post("/v1/skills/classification/run", json=body)
    assert reply.status_code == 200, reply.text
    probabilities = outputs(checkpoints["kinds"], body["text"]).softmax(0).tolist()
    expected = dict(zip(SENTIMENTS.values(), probabilities, strict=True))
    assert reply.json()["details"]["probabilities"] == pytest.approx(expected, abs=TOLERANCE)
    assert reply.json()["result"] == max(expected, key=expected.__getitem__)
    reply = client.post("/v1/skills/classification/run", json={**body, "labels": ["odd", "sport"]})
    assert reply.status_code == 400
    assert "bad, good, odd" in reply.json()["error"]["message"]
    refused = client.post("/v1/skills/summarization/run", json={"text": "Paris", "model": "kinds"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")


def test_a_document_that_is_too_long_is_refused_or_cut(client: httpx2.Client, checkpoints: dict[str, Any]) -> None:
    long = "fish " * 100
    body = {"model": "cross", "query": QUERY, "documents": ["Paris", long]}
    error = client.post("/v1/rerank", json=body).json()["error"]
    assert (error["param"], error["code"]) == ("documents[1]", "context_length_exceeded")
    reply = client.post("/v1/rerank", json={**body, "truncate_prompt_tokens": -1})
    assert reply.headers["X-LLMOS-Truncated-Inputs"] == "1"
    expected = float(outputs(checkpoints["cross"], QUERY, "fish " * 58).sigmoid())
    found = {result["index"]: result["relevance_score"] for result in reply.json()["results"]}
    assert found[1] == pytest.approx(expected, abs=TOLERANCE)


def test_texts_are_classified_as_transformers_does(client: httpx2.Client, checkpoints: dict[str, Any]) -> None:
    reply = client.post("/v1/classify", json={"model": "kinds", "input": DOCUMENTS})
    assert reply.status_code == 200, reply.text
    for item, document in zip(reply.json()["data"], DOCUMENTS, strict=True):
        expected = outputs(checkpoints["kinds"], document).softmax(-1)
        assert item["probs"] == pytest.approx(expected.tolist(), abs=TOLERANCE)
        assert item["label"] == SENTIMENTS[int(expected.argmax())]
    listed = {model["id"]: model["capabilities"] for model in client.get("/v1/models").json()["data"]}
    assert ["classify", "rerank", "score", "systemone", "tokenize"] in listed.values()
    assert ["classify", "systemone", "tokenize"] in listed.values()


def test_typed_questions_are_answered_by_both(client: httpx2.Client, checkpoints: dict[str, Any]) -> None:
    state = "Paris is the capital of France"
    choice = {"type": "choice", "instructions": "Mood?", "criteria": dict.fromkeys(("good", "bad"))}
    body = {"model": "kinds", "state": state, "questions": {"mood": choice}}
    answer = client.post("/v1/systemone", json=body).json()["answers"]["mood"]
    good, bad = (float(outputs(checkpoints["kinds"], state)[place]) for place in (1, 0))
    assert answer["probabilities"]["good"] == pytest.approx(1 / (1 + math.exp(bad - good)), abs=TOLERANCE)
    noul = {"type": "noul", "instructions": "capital of France"}
    body = {"model": "cross", "state": state, "questions": {"fits": noul}}
    answer = client.post("/v1/systemone", json=body).json()["answers"]["fits"]
    assert answer["noul"] == pytest.approx(float(outputs(checkpoints["cross"], QUERY, state).sigmoid()), abs=TOLERANCE)
