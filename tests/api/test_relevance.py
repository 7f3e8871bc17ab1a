"""/v1/rerank, /v1/score and /v1/classify over scripted encoders."""

from __future__ import annotations

import asyncio
import math
import struct
from typing import Any

import pytest

from llmos_server.errors import EngineBusy

DOCUMENTS = ["Paris is in France.", "Fish swim.", "France's capital is Paris."]
QUERY = "capital of France"


@pytest.fixture
def api(make_api: Any, fakes: Any) -> Any:
    """A model for embeddings, which is the default, and a cross-encoder."""
    encoder = fakes.ScriptedEncoder(max_input_tokens=100)
    return make_api(
        encoder=encoder, classifier=fakes.ScriptedClassifier("LABEL_0", activation="sigmoid", max_input_tokens=60)
    )


def pair_ids(fakes: Any, first: str, second: str) -> list[int]:
    return [fakes.TURN, *first.encode(), fakes.EOS, *second.encode(), fakes.EOS]


def relevance(fakes: Any, first: str, second: str) -> float:
    """The scripted cross-encoder's output, in float32."""
    ids = pair_ids(fakes, first, second)
    (value,) = fakes.output_of(ids, len(first.encode()) + 2, 1)
    (single,) = struct.unpack("<f", struct.pack("<f", value))
    return float(single)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v2/rerank"])
async def test_documents_come_in_the_order_of_their_relevance(api: Any, fakes: Any, path: str) -> None:
    reply = await api.post(path, {"model": "kinds", "query": QUERY, "documents": DOCUMENTS})
    assert reply.status_code == 200, reply.text
    body = reply.json()
    scores = [sigmoid(relevance(fakes, QUERY, document)) for document in DOCUMENTS]
    order = sorted(range(3), key=lambda place: -scores[place])
    assert [result["index"] for result in body["results"]] == order
    for result in body["results"]:
        assert result["relevance_score"] == pytest.approx(scores[result["index"]])
        assert result["document"] == {"text": DOCUMENTS[result["index"]]}
    num_tokens = sum(len(pair_ids(fakes, QUERY, document)) for document in DOCUMENTS)
    assert body["usage"] == {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    assert body["model"] == "kinds"
    assert body["id"].startswith("rerank-")


async def test_options_of_rerank(api: Any, fakes: Any) -> None:
    documents = [{"text": text} for text in DOCUMENTS]
    body = {"model": "kinds", "query": {"text": QUERY}, "documents": documents, "use_activation": False}
    whole = (await api.post("/v1/rerank", body)).json()["results"]
    assert [r["relevance_score"] for r in whole] == sorted(
        (relevance(fakes, QUERY, text) for text in DOCUMENTS), reverse=True
    )
    few = (await api.post("/v1/rerank", {**body, "top_n": 2, "return_documents": False})).json()["results"]
    assert few == [{name: result[name] for name in ("index", "relevance_score")} for result in whole[:2]]
    for top_n in (0, 9):
        assert len((await api.post("/v1/rerank", {**body, "top_n": top_n})).json()["results"]) == 3


async def test_documents_are_cut_where_that_is_asked_for(api: Any, fakes: Any) -> None:
    classifier = (await api.app.state["services"].directory.get("kinds")).engine
    long = "x" * 80
    body = {"model": "kinds", "query": "q", "documents": ["short", long]}
    error = (await api.post("/v1/rerank", body)).json()["error"]
    assert (error["param"], error["code"]) == ("documents[1]", "context_length_exceeded")
    error = (await api.post("/v1/rerank", {**body, "query": long})).json()["error"]
    assert error["param"] == "query"
    for field, kept in (({"truncate_prompt_tokens": -1}, 56), ({"truncate_prompt_tokens": 20}, 16)):
        reply = await api.post("/v1/rerank", {**body, **field})
        assert reply.headers["X-LLMOS-Truncated-Inputs"] == "1"
        assert reply.json()["usage"]["truncated_inputs"] == 1
        assert classifier.requests[-1].inputs[1] == pair_ids(fakes, "q", "x" * kept)
    reply = await api.post("/v1/rerank", {**body, "max_tokens_per_doc": 3})
    assert classifier.requests[-1].inputs == [pair_ids(fakes, "q", "sho"), pair_ids(fakes, "q", "xxx")]
    assert reply.json()["usage"]["truncated_inputs"] == 2
    error = (await api.post("/v1/rerank", {**body, "truncate_prompt_tokens": 61})).json()["error"]
    assert error["param"] == "truncate_prompt_tokens"


async def test_embeddings_are_compared_by_their_cosine(api: Any) -> None:
    def vector(text: str) -> list[float]:
        ids = text.encode()
        return [len(ids), sum(ids), ids[0], 1]

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    encoder = (await api.app.state["services"].directory.get("small")).engine
    reply = await api.post("/v1/rerank", {"query": QUERY, "documents": [*DOCUMENTS, DOCUMENTS[0]]})
    body = reply.json()
    assert body["model"] == "small"
    for result in body["results"]:
        expected = cosine(vector(QUERY), vector(([*DOCUMENTS, DOCUMENTS[0]])[result["index"]]))
        assert result["relevance_score"] == pytest.approx(expected, abs=1e-7)
    assert len(encoder.requests[-1].inputs) == 4, "each text is computed once"
    error = (await api.post("/v1/rerank", {"query": "q", "documents": ["d"], "use_activation": False})).json()["error"]
    assert error["param"] == "use_activation"
    error = (await api.post("/v1/rerank", {"query": "q", "documents": ["d", "x" * 101]})).json()["error"]
    assert (error["param"], error["code"]) == ("documents[1]", "context_length_exceeded")
    error = (await api.post("/v1/rerank", {"query": "q", "documents": ["d", ""]})).json()["error"]
    assert error["param"] == "documents[1]"
    error = (await api.post("/v1/score", {"text_1": "", "text_2": "d"})).json()["error"]
    assert error["param"] == "text_1"
    error = (await api.post("/v1/score", {"text_1": "q", "text_2": "d", "truncate_prompt_tokens": 0})).json()["error"]
    assert error["param"] == "truncate_prompt_tokens"
    cut = await api.post("/v1/rerank", {"query": "q", "documents": ["d", "x" * 101], "truncate_prompt_tokens": -1})
    assert cut.json()["usage"]["truncated_inputs"] == 1
    assert sorted(len(ids) for ids in encoder.requests[-1].inputs) == [1, 1, 100]


@pytest.mark.parametrize(
    ("fields", "pairs"),
    [
        ({"text_1": "a", "text_2": "b"}, [("a", "b")]),
        ({"text_1": "a", "text_2": ["b", "c"]}, [("a", "b"), ("a", "c")]),
        ({"queries": ["a", "d"], "documents": ["b", {"text": "c"}]}, [("a", "b"), ("d", "c")]),
        ({"queries": "a", "items": ["b"]}, [("a", "b")]),
        ({"data_1": {"text": "a"}, "data_2": ["b", "c"]}, [("a", "b"), ("a", "c")]),
    ],
)
@pytest.mark.parametrize("path", ["/v1/score", "/score"])
async def test_pairs_are_scored_in_order(api: Any, fakes: Any, path: str, fields: Any, pairs: Any) -> None:
    body = (await api.post(path, {"model": "kinds", **fields})).json()
    assert [item["score"] for item in body["data"]] == pytest.approx(
        [sigmoid(relevance(fakes, *pair)) for pair in pairs]
    )
    assert [(item["index"], item["object"]) for item in body["data"]] == [(i, "score") for i in range(len(pairs))]
    assert body["object"] == "list"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/score", {}, "text_1"),
        ("/v1/score", {"text_1": "a"}, "text_1"),
        ("/v1/score", {"text_1": "a", "documents": "b"}, "text_1"),
        ("/v1/score", {"text_1": "a", "text_2": "b", "queries": "c"}, "text_1"),
        ("/v1/score", {"text_1": ["a", "b"], "text_2": ["c"]}, "text_1"),
        ("/v1/score", {"text_1": ["a", "b"], "text_2": ["c", "d", "e"]}, "text_1"),
        ("/v1/score", {"text_1": "a", "text_2": []}, "text_2"),
        ("/v1/score", {"text_1": 5, "text_2": "b"}, "text_1"),
        ("/v1/score", {"text_1": "a", "text_2": ["b", "x" * 80]}, "text_2[1]"),
        ("/v1/score", {"text_1": ["a", "x" * 80], "text_2": ["b", "c"]}, "text_1[1]"),
        ("/v1/score", {"text_1": "a", "text_2": "b", "label_token_ids": [1]}, "label_token_ids"),
        ("/v1/rerank", {"query": "q", "documents": []}, "documents"),
        ("/v1/rerank", {"query": "q", "documents": ["d"] * 2049}, "documents"),
        ("/v1/rerank", {"query": "q", "documents": [5]}, "documents[0]"),
        ("/v1/rerank", {"query": "q", "documents": [{"image": "data:"}]}, "documents[0].image"),
        ("/v1/rerank", {"query": "q"}, "documents"),
        ("/v1/rerank", {"documents": ["d"]}, "query"),
        ("/v1/rerank", {"query": "q", "documents": ["d"], "top_n": -1}, "top_n"),
        ("/v1/rerank", {"query": "q", "documents": ["d"], "max_tokens_per_doc": 0}, "max_tokens_per_doc"),
        ("/v1/rerank", {"query": "q", "documents": ["d"], "rank_fields": ["a"]}, "rank_fields"),
        ("/v1/rerank", {"query": "q", "documents": ["d"], "priority": 3}, "priority"),
        ("/v1/rerank", {"model": "tiny", "query": "q", "documents": ["d"]}, "model"),
        ("/v1/score", {"model": "tiny", "text_1": "q", "text_2": "d"}, "model"),
        ("/v1/classify", {"model": "tiny", "input": "q"}, "model"),
        ("/v1/classify", {"model": "small", "input": "q"}, "model"),
        ("/v1/classify", {"input": []}, "input"),
        ("/v1/classify", {"input": ["a", ""]}, "input[1]"),
        ("/v1/classify", {"input": "x" * 61}, "input"),
        ("/v1/classify", {"input": [[1, 300]]}, "input"),
        ("/v1/embeddings", {"model": "kinds", "input": "q"}, "model"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}, "model"),
    ],
)
async def test_refused_by_name(api: Any, path: str, body: dict[str, Any], param: str) -> None:
    reply = await api.post(path, {"model": "kinds", **body})
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["param"] == param


async def test_a_decoder_is_told_where_to_ask(api: Any) -> None:
    error = (await api.post("/v1/rerank", {"model": "tiny", "query": "q", "documents": ["d"]})).json()["error"]
    assert "/v1/systemone" in error["message"]


@pytest.mark.parametrize("path", ["/v1/classify", "/classify"])
async def test_texts_are_sorted_into_classes(make_api: Any, fakes: Any, path: str) -> None:
    api = make_api(classifier=fakes.ScriptedClassifier("bad", "good", "odd"))
    reply = await api.post(path, {"model": "kinds", "input": ["Hi", "Hello"]})
    body = reply.json()
    assert body["labels"] == ["bad", "good", "odd"]
    assert body["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    for item, text in zip(body["data"], ("Hi", "Hello"), strict=True):
        outputs = fakes.output_of(list(text.encode()), len(text), 3)
        weights = [math.exp(output) for output in outputs]
        assert item["probs"] == pytest.approx([weight / sum(weights) for weight in weights])
        assert item["label"] == body["labels"][outputs.index(max(outputs))]
        assert item["num_classes"] == 3
    raw = (await api.post(path, {"model": "kinds", "input": [[72, 105]], "use_activation": False})).json()
    assert raw["data"][0]["probs"] == pytest.approx(fakes.output_of([72, 105], 2, 3))


async def test_several_labels_may_be_true(make_api: Any, fakes: Any) -> None:
    api = make_api(classifier=fakes.ScriptedClassifier("a", "b", activation="sigmoid"))
    (item,) = (await api.post("/v1/classify", {"model": "kinds", "input": "Hi"})).json()["data"]
    assert item["probs"] == pytest.approx([sigmoid(output) for output in fakes.output_of([72, 105], 2, 2)])
    error = (await api.post("/v1/score", {"model": "kinds", "text_1": "a", "text_2": "b"})).json()["error"]
    assert error["param"] == "model"
    assert "/v1/classify" in error["message"]


async def test_long_inputs_are_cut_where_that_is_asked_for(make_api: Any, fakes: Any) -> None:
    classifier = fakes.ScriptedClassifier("a", "b")
    api = make_api(classifier=classifier)
    body = {"model": "kinds", "input": ["Hi", "y" * 30], "truncate_prompt_tokens": -1}
    reply = await api.post("/v1/classify", body)
    assert reply.headers["X-LLMOS-Truncated-Inputs"] == "1"
    assert reply.json()["usage"]["truncated_inputs"] == 1
    assert classifier.requests[-1].inputs == [[*b"Hi"], [*b"y"] * 20]


async def test_models_tell_what_they_can_do(api: Any, make_api: Any, fakes: Any) -> None:
    def capabilities(reply: Any) -> Any:
        return {model["id"]: model["capabilities"] for model in reply.json()["data"]}

    found = capabilities(await api.http.get("/v1/models"))
    assert found["small"] == ["embeddings", "rerank", "score", "tokenize"]
    assert found["kinds"] == ["classify", "rerank", "score", "systemone", "tokenize"]
    found = capabilities(await make_api(classifier=fakes.ScriptedClassifier("a", "b")).http.get("/v1/models"))
    assert found["kinds"] == ["classify", "systemone", "tokenize"]


async def test_what_the_engine_refuses_and_who_leaves(api: Any) -> None:
    classifier = (await api.app.state["services"].directory.get("kinds")).engine
    body = {"model": "kinds", "query": "q", "documents": ["d"]}
    classifier.error = EngineBusy("full", retry_after=3.0)
    reply = await api.post("/v1/rerank", body)
    assert (reply.status_code, reply.headers["Retry-After"]) == (429, "3")
    classifier.error, classifier.gate = None, asyncio.Event()
    task = asyncio.create_task(api.post("/v1/rerank", body))
    while len(classifier.requests) < 2:
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert classifier.cancelled.wait(5)
    assert classifier.num_holds == 0
