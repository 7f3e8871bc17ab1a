"""/v1/systemone over scripted classifiers of three kinds."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest

CHOICE = {"type": "choice", "instructions": "Who?", "criteria": {"billing": "money", "shipping": None}}
SCORE = {"type": "score", "instructions": "How soon?", "criteria": ["later", "now", "at once"]}
NOUL = {"type": "noul", "instructions": "Angry?"}
STATE = "Help!"


async def ask(api: Any, questions: dict[str, Any], **fields: Any) -> Any:
    return await api.post("/v1/systemone", {"model": "kinds", "state": STATE, "questions": questions, **fields})


def outputs(fakes: Any, first: str, second: str, num: int) -> list[float]:
    ids = [fakes.TURN, *first.encode(), fakes.EOS, *second.encode(), fakes.EOS]
    values = fakes.output_of(ids, len(first.encode()) + 2, num)
    return list(struct.unpack(f"<{num}f", struct.pack(f"<{num}f", *values)))


def softmax(values: list[float]) -> list[float]:
    weights = [math.exp(value) for value in values]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("labels", [("entailment", "neutral", "contradiction"), ("Not Entailment", "Entailment")])
async def test_an_inference_model_judges_what_the_state_entails(make_api: Any, fakes: Any, labels: Any) -> None:
    yes = next(place for place, label in enumerate(labels) if label.lower().startswith("entail"))
    no = next(place for place, label in enumerate(labels) if label.lower().startswith(("not", "contra")))
    num = len(labels)
    api = make_api(classifier=fakes.ScriptedClassifier(*labels, max_input_tokens=60))
    meant = {**NOUL, "criteria": {"true": "The customer is angry."}}
    body = (await ask(api, {"c": CHOICE, "s": SCORE, "n": NOUL, "m": meant})).json()
    expected = softmax([outputs(fakes, STATE, f"Who?\n{text}", num)[yes] for text in ("billing: money", "shipping")])
    assert list(body["answers"]["c"]["probabilities"].values()) == pytest.approx(expected)
    expected = softmax([outputs(fakes, STATE, f"How soon?\n{text}", num)[yes] for text in SCORE["criteria"]])
    assert list(body["answers"]["s"]["probabilities"].values()) == pytest.approx(expected)
    for name, statement in (("n", "Angry?"), ("m", "The customer is angry.")):
        found = outputs(fakes, STATE, statement, num)
        assert body["answers"][name]["noul"] == pytest.approx(softmax([found[yes], found[no]])[0])
    classifier = (await api.app.state["services"].directory.get("kinds")).engine
    assert body["usage"]["input_tokens"] == sum(map(len, classifier.requests[-1].inputs))
    assert body["usage"]["output_tokens"] == 0


async def test_a_cross_encoder_tells_what_goes_with_the_state(make_api: Any, fakes: Any) -> None:
    api = make_api(classifier=fakes.ScriptedClassifier("LABEL_0", activation="sigmoid", max_input_tokens=60))
    body = (await ask(api, {"c": CHOICE, "n": NOUL})).json()
    expected = softmax([outputs(fakes, f"Who?\n{text}", STATE, 1)[0] for text in ("billing: money", "shipping")])
    assert list(body["answers"]["c"]["probabilities"].values()) == pytest.approx(expected)
    logit = outputs(fakes, "Angry?", STATE, 1)[0]
    assert body["answers"]["n"]["noul"] == pytest.approx(1 / (1 + math.exp(-logit)))


async def test_a_classifier_chooses_among_its_own_classes(make_api: Any, fakes: Any) -> None:
    classifier = fakes.ScriptedClassifier("bad", "good", "odd")
    api = make_api(classifier=classifier)
    choice = {"type": "choice", "instructions": "Mood?", "criteria": {"Good": None, "bad": "not so good"}}
    body = (await ask(api, {"a": choice, "b": choice})).json()
    found = fakes.output_of(list(STATE.encode()), len(STATE), 3)
    expected = softmax([found[1], found[0]])
    assert body["answers"]["a"]["probabilities"] == pytest.approx({"Good": expected[0], "bad": expected[1]})
    assert body["answers"]["a"] == body["answers"]["b"]
    assert [request.inputs for request in classifier.requests] == [[[*STATE.encode()]]]


@pytest.mark.parametrize(
    ("questions", "fields", "param"),
    [
        ({"q": NOUL}, {}, "questions.q.type"),
        ({"q": SCORE}, {}, "questions.q.type"),
        ({"q": CHOICE}, {}, "questions.q.criteria"),
        ({"q": {**CHOICE, "criteria": {"bad": None, "BAD": None}}}, {}, "questions.q.criteria"),
        ({"q": {**CHOICE, "criteria": {"bad": None}}}, {"state": "x" * 21}, "state"),
    ],
)
async def test_what_a_classifier_cannot_answer_is_refused(
    make_api: Any, fakes: Any, questions: Any, fields: Any, param: str
) -> None:
    classifier = fakes.ScriptedClassifier("bad", "good")
    reply = await ask(make_api(classifier=classifier), questions, **fields)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert classifier.requests == []


async def test_too_many_or_too_long_statements_are_refused(make_api: Any, fakes: Any) -> None:
    api = make_api(classifier=fakes.ScriptedClassifier("LABEL_0", max_input_tokens=60))
    many = {f"q{i}": {**CHOICE, "criteria": {str(n): None for n in range(255)}} for i in range(9)}
    assert (await ask(api, many)).json()["error"]["param"] == "questions"
    error = (await ask(api, {"a": NOUL, "b": {**NOUL, "instructions": "x" * 60}})).json()["error"]
    assert (error["param"], error["code"]) == ("questions.b", "context_length_exceeded")
