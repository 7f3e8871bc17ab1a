"""The skill `classification` over a model with a classification head, which knows labels of its own."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from llmos_server import Calibration, Classified, InputError, ScriptedContext, try_skill
from llmos_server.calibration.calibration import Reliability, probabilities
from llmos_server.plugins.host import load_plugins
from llmos_server.settings import PluginsSettings

LABELS = ["Bad", "good", "a/b"]


@pytest.fixture
def ask(make_api: Any, fakes: Any, built_in: Any) -> Any:
    """ask(activation, body): the reply, and what the classifier put out for the text."""

    async def run(activation: str, **body: Any) -> Any:
        classifier = fakes.ScriptedClassifier(*LABELS, activation=activation)
        api = make_api(classifier=classifier, plugins=built_in)
        reply = await api.post("/v1/skills/classification/run", {"text": "fish", "model": "kinds", **body})
        outputs = [fakes.output_of(ids, len(ids), 3) for request in classifier.requests for ids in request.inputs]
        return reply, outputs

    return run


async def test_one_label(ask: Any) -> None:
    reply, (outputs,) = await ask("softmax", labels=["good", "bad"])
    assert reply.status_code == 200, reply.text
    body = reply.json()
    bad, good = probabilities(outputs[:2])
    assert body["details"]["probabilities"] == {"good": pytest.approx(good), "bad": pytest.approx(bad)}
    assert body["result"] == ("good" if good > bad else "bad")
    assert body["details"]["confidence"] == pytest.approx(max(good, bad))
    assert (body["model"], body["usage"]["completion_tokens"]) == ("kinds", 0)
    assert body["usage"]["prompt_tokens"] > 0


async def test_several_labels(ask: Any) -> None:
    reply, (outputs,) = await ask("sigmoid", labels=["a/b", "good"], multiple=True)
    assert reply.status_code == 200, reply.text
    _, good, path = (1 / (1 + math.exp(-output)) for output in outputs)
    assert reply.json()["details"]["probabilities"] == {"a/b": pytest.approx(path), "good": pytest.approx(good)}
    assert set(reply.json()["result"]) == {name for name, p in (("a/b", path), ("good", good)) if p >= 0.5}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"labels": ["good", "sport"]}, "labels[1]", "Bad, good, a/b"),
        ({"labels": ["good", "a"]}, "labels[1]", "Bad, good, a/b"),
        ({"labels": ["bad", "BAD"]}, "labels[1]", "twice"),
        ({"labels": ["good"]}, "labels", "at least two"),
        ({"labels": [{"name": "good", "description": "fine"}, "bad"]}, "labels[0].description", "leave it out"),
        ({"labels": [{"name": "good", "labels": ["bad"]}, "bad"]}, "labels[0].labels", "below"),
        ({"labels": ["good", "bad"], "multiple": True}, "multiple", "exclude"),
    ],
)
async def test_what_it_cannot_do_is_refused_by_name(ask: Any, fields: Any, field: str, words: str) -> None:
    reply, _ = await ask("softmax", **fields)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, field)
    assert words in error["message"]


async def test_a_text_that_is_too_long(ask: Any) -> None:
    reply, _ = await ask("softmax", text="fish " * 400, labels=["good", "bad"])
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "text")
    assert reply.json()["error"]["code"] == "context_length_exceeded"


async def test_as_a_chat(make_api: Any, fakes: Any, built_in: Any) -> None:
    api = make_api(classifier=fakes.ScriptedClassifier(*LABELS), plugins=built_in)
    metadata = {"model": "kinds", "labels": '["good", "bad"]'}
    reply = await api.chat("fish", model="skill:classification", metadata=metadata)
    assert reply.json()["choices"][0]["message"]["content"] in ("good", "bad")
    reply = await api.chat("fish", model="skill:classification", metadata={"model": "kinds"})
    assert "Bad, good, a/b" in reply.json()["error"]["message"]


async def test_the_plugins_own_model_may_be_one(make_api: Any, fakes: Any) -> None:
    options = {"classification": {"model": "kinds"}}
    host = load_plugins(PluginsSettings(enabled=("classification",), options=options))
    api = make_api(classifier=fakes.ScriptedClassifier(*LABELS), plugins=host)
    reply = await api.post("/v1/skills/classification/run", {"text": "fish", "labels": ["good", "bad"]})
    assert reply.json()["model"] == "kinds"


def test_it_is_calibrated_as_others_are() -> None:
    from llmos_plugins.classification.skill import Classification

    raw = Reliability(accuracy=0.5, brier=0.5, ece=0.2, ece_low=0.1, ece_high=0.3, bins=[])
    better = msgspec.structs.replace(raw, ece=0.05)
    calibration = Calibration(temperature=2.0, num_rows=900, measured=1, raw=raw, calibrated=better)
    found = Classified(probabilities={"a": 0.8, "b": 0.1, "c": 0.1}, is_one_of=True)
    context = ScriptedContext([], classified=lambda text: found, calibrations={"one": calibration})
    output = try_skill(Classification(), {"text": "t", "labels": ["a", "b", "c"]}, context)
    assert output.confidence == pytest.approx(8**0.5 / (8**0.5 + 2))
    with pytest.raises(InputError, match="a, b, c"):
        try_skill(Classification(), {"text": "t", "labels": ["a", "x"]}, context)
