"""Plugins' filters of requests whose texts are embedded, compared, sorted or decided about; nothing is generated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from llmos_plugins.classification.skill import Classification

from llmos_server import FilteredRequest, Refusal, RequestFilter, hookimpl
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate
from llmos_server.settings import PluginsSettings

QUESTIONS: dict[str, Any] = {
    "team": {"type": "choice", "instructions": "Which?", "criteria": {"billing": {"of": "money"}, "other": None}},
    "haste": {"type": "score", "instructions": ["How", "urgent?"], "criteria": ["later", "now"]},
    "angry": {"type": "noul", "instructions": "Angry?", "criteria": {"true": "shouts", "false": None}},
}
REQUESTS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "embeddings": ("/v1/embeddings", {"input": ["one", "two"], "model": "small"}, ["one", "two"]),
    "classify": ("/v1/classify", {"input": "one", "model": "kinds"}, ["one"]),
    "rerank": (
        "/rerank",
        {"query": {"text": "q"}, "documents": ["one", {"text": "two"}], "model": "small", "top_n": 1},
        ["q", "one", "two"],
    ),
    "score": (
        "/v1/score",
        {"queries": "one", "items": ["two", {"text": "three"}], "model": "small"},
        ["one", "two", "three"],
    ),
    "systemone": (
        "/v1/systemone",
        {"state": {"x": "charged"}, "questions": QUESTIONS},
        [
            *('{"x": "charged"}', "Which?", "billing", '{"of": "money"}', "other"),
            *('["How", "urgent?"]', "later", "now", "Angry?", "shouts"),
        ],
    ),
}


class Texts(RequestFilter):
    name = "texts"
    deadline_ms = 600_000

    def __init__(self, change: Callable[[FilteredRequest], FilteredRequest | None]) -> None:
        self.change = change
        self.seen: list[FilteredRequest] = []

    def check(self, request: FilteredRequest) -> FilteredRequest | None:
        self.seen.append(request)
        return self.change(request)


@pytest.fixture
def create(make_api: Any, fakes: Any) -> Any:
    """create(change): an API with one filter, which does that to requests; .filter is it."""

    def make(change: Callable[[FilteredRequest], FilteredRequest | None] = lambda request: None) -> Any:
        texts = Texts(change)

        class Plugin:
            hook_api = "1.1"

            @hookimpl
            def register_request_filters(self) -> list[RequestFilter]:
                return [texts]

        host = PluginHost(PluginsSettings(max_failures=1000))
        host.add(Candidate(name="guarding", source="built-in", load=Plugin), {})
        classifier = fakes.ScriptedClassifier("bad", "good")
        api = make_api("Hi", encoder=fakes.ScriptedEncoder(), classifier=classifier, plugins=host)
        api.filter, api.classifier = texts, classifier
        return api

    return make


def replace(**fields: Any) -> Callable[[FilteredRequest], FilteredRequest]:
    return lambda request: msgspec.structs.replace(request, **fields)


def shout(request: FilteredRequest) -> FilteredRequest:
    """All that may be changed."""
    names = {"billing", "other"} if request.endpoint == "systemone" else set()
    return msgspec.structs.replace(request, prompts=[t if t in names else t.upper() for t in request.prompts])


@pytest.mark.parametrize("endpoint", REQUESTS)
async def test_a_filter_sees_the_texts(create: Any, endpoint: str) -> None:
    path, body, texts = REQUESTS[endpoint]
    api = create()
    assert (await api.post(path, body)).status_code == 200
    [seen] = api.filter.seen
    assert (seen.endpoint, seen.model, seen.messages, seen.prompts) == (endpoint, body.get("model", ""), [], texts)
    assert seen.params == ({"top_n": 1} if endpoint == "rerank" else {})


@pytest.mark.parametrize("endpoint", REQUESTS)
async def test_a_change_is_what_the_model_gets(create: Any, endpoint: str) -> None:
    path, body, _ = REQUESTS[endpoint]
    billing = {"billing": '{"OF": "MONEY"}', "other": None}
    api, plain = create(shout), create()
    changed = await api.post(path, body)
    assert changed.status_code == 200, changed.text
    raw: Any = {
        "embeddings": {"input": ["ONE", "TWO"], "model": "small"},
        "classify": {"input": "ONE", "model": "kinds"},
        "rerank": {**body, "query": "Q", "documents": ["ONE", {"text": "TWO"}]},
        "score": {**body, "queries": "ONE", "items": ["TWO", {"text": "THREE"}]},
        "systemone": {
            "state": '{"X": "CHARGED"}',
            "questions": {
                "team": {"type": "choice", "instructions": "WHICH?", "criteria": billing},
                "haste": {"type": "score", "instructions": '["HOW", "URGENT?"]', "criteria": ["LATER", "NOW"]},
                "angry": {"type": "noul", "instructions": "ANGRY?", "criteria": {"true": "SHOUTS", "false": None}},
            },
        },
    }[endpoint]
    expected = (await plain.post(path, raw)).json()
    unlike = {"id", "created"}
    assert {k: v for k, v in changed.json().items() if k not in unlike} == {
        k: v for k, v in expected.items() if k not in unlike
    }


@pytest.mark.parametrize(
    ("endpoint", "param"),
    [("embeddings", "input"), ("classify", "input"), ("rerank", "query"), ("score", "queries"), ("systemone", "state")],
)
async def test_a_refusal_is_a_400(create: Any, endpoint: str, param: str) -> None:
    def refuse(request: FilteredRequest) -> None:
        raise Refusal("not here")

    api = create(refuse)
    path, body, _ = REQUESTS[endpoint]
    reply = await api.post(path, body)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["code"]) == (400, param, "refused_by_plugin")
    assert error["message"] == "The filter texts of the plugin guarding refuses this request: not here"
    assert api.generator.requests == []


@pytest.mark.parametrize("endpoint", REQUESTS)
@pytest.mark.parametrize("fields", [{"prompts": ["one text"] * 12}, {"params": {"top_n": -1, "calibrated": "x"}}])
async def test_what_is_no_request_any_more_is_the_filters_fault(
    create: Any, monkeypatch: pytest.MonkeyPatch, endpoint: str, fields: Any
) -> None:
    path, body, _ = REQUESTS[endpoint]
    reply = await create(replace(**fields)).post(path, body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "plugin_failed"), reply.text
    monkeypatch.setattr(Texts, "on_failure", "open")
    assert (await create(replace(**fields)).post(path, body)).status_code == 200


async def test_an_options_name_is_not_to_be_changed(create: Any) -> None:
    """The answer has the name that the client asked with."""
    path, body, texts = REQUESTS["systemone"]
    reply = await create(replace(prompts=[text.replace("billing", "x") for text in texts])).post(path, body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "plugin_failed")


async def test_another_model_and_other_fields_are_honoured(create: Any) -> None:
    path, body, _ = REQUESTS["rerank"]
    changed = {"top_n": 2, "return_documents": False}
    reply = (await create(replace(params=changed)).post(path, body)).json()
    assert len(reply["results"]) == 2
    assert "document" not in reply["results"][0]
    reply = await create(replace(model="kinds")).post("/v1/classify", {"input": "x", "model": "tiny"})
    assert reply.json()["model"] == "kinds"


@pytest.mark.parametrize(("path", "model"), [("/v1/embeddings", "small"), ("/v1/classify", "kinds")])
async def test_token_ids_cant_be_read(create: Any, path: str, model: str) -> None:
    api = create()
    for given in ([72, 105], [[72], [105]]):
        reply = await api.post(path, {"input": given, "model": model})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "input")
        assert "send text" in reply.json()["error"]["message"]


async def test_what_a_skill_asks_a_classifier_is_filtered_too(create: Any) -> None:
    class Plugin:
        hook_api = "1.1"

        @hookimpl
        def register_skills(self) -> list[Any]:
            return [Classification()]

    api = create(shout)
    api.app.state["services"].plugins.add(Candidate(name="classification", source="built-in", load=Plugin), {})
    body = {"text": "fish", "labels": ["good", "bad"], "model": "kinds"}
    reply = await api.post("/v1/skills/classification/run", body)
    assert reply.status_code == 200, reply.text
    assert [(seen.endpoint, seen.prompts) for seen in api.filter.seen] == [("skill", ["fish"])]
    assert api.classifier.requests[-1].inputs == [list(b"FISH")]
