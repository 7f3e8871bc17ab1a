"""/v1/systemone over a scripted engine."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmos_server.api.decisions.decision_answers import choice_confidence, score_confidence
from llmos_server.calibration.calibration import Calibration, Reliability, probabilities
from llmos_server.calibration.file import CalibrationFile
from llmos_server.errors import EngineBusy, ModelFault

QUESTIONS: dict[str, Any] = {
    "team": {
        "type": "choice",
        "instructions": "Which team?",
        "criteria": {"billing": "payments", "shipping": None, "technical": {"any": "else"}},
    },
    "haste": {"type": "score", "instructions": "How urgent?", "criteria": ["can wait", "today", "now"]},
    "angry": {"type": "noul", "instructions": "Is the customer angry?"},
}
STATE = "I was charged twice."


async def ask(api: Any, questions: Any = QUESTIONS, state: Any = STATE, **fields: Any) -> Any:
    return await api.post("/v1/systemone", {"state": state, "questions": questions, **fields})


def prompts(api: Any) -> list[str]:
    return [api.renderer.decode(request.prompt_ids) for request in api.generator.requests]


def expected(fakes: Any, labels: list[str]) -> list[float]:
    """Probabilities of what the scripted engine finds."""
    totals = [
        math.fsum(fakes.logprob_of(token, place, 0).logprob for place, token in enumerate(label.encode()))
        for label in labels
    ]
    weights = [math.exp(total) for total in totals]
    return [weight / sum(weights) for weight in weights]


async def test_each_type_of_question(api: Any, fakes: Any) -> None:
    api.generator.num_cached_tokens = 3
    reply = await ask(api, model="tiny")
    assert reply.status_code == 200, reply.text
    body = reply.json()
    team, haste, angry = (body["answers"][name] for name in QUESTIONS)
    abc = expected(fakes, ["A", "B", "C"])
    assert list(body["answers"]) == list(QUESTIONS)
    assert team["probabilities"] == pytest.approx(dict(zip(("billing", "shipping", "technical"), abc, strict=True)))
    assert list(team["probabilities"]) == ["billing", "shipping", "technical"]
    assert (team["type"], team["choice"]) == ("choice", max(team["probabilities"], key=team["probabilities"].get))
    assert team["confidence"] == pytest.approx((max(abc) - 1 / 3) / (2 / 3))
    assert haste["probabilities"] == pytest.approx(dict(zip("012", abc, strict=True)))
    assert haste["score"] == pytest.approx(abc[1] + 2 * abc[2])
    assert haste["legend"] == {"0": "can wait", "1": "today", "2": "now"}
    assert angry == {"type": "noul", "noul": pytest.approx(expected(fakes, ["Yes", "No"])[0])}
    num_tokens = sum(len(request.prompt_ids) for request in api.generator.requests)
    assert body["model"] == "tiny"
    details = {"cached_tokens": 9}
    assert body["calibration"] == {}
    assert body["model_digest"] == "sha256:" + "ab" * 32
    assert body["usage"] == {"input_tokens": num_tokens, "input_tokens_details": details, "output_tokens": 0}


async def test_what_the_model_reads(api: Any) -> None:
    await ask(api)
    team, haste, angry = prompts(api)
    assert team == (
        "[('enable_thinking', False)]user:I was charged twice.\n\nWhich team?\nOptions:\nA) billing: payments\n"
        'B) shipping\nC) technical: {"any": "else"}\nReply with nothing but the letter of the right option.\nassistant:'
    )
    assert "Levels, from lowest to highest:\nA) can wait\nB) today\nC) now\n" in haste
    assert angry.endswith("Is the customer angry?\nReply with one word, Yes or No.\nassistant:")
    assert [request.continuations for request in api.generator.requests] == [
        [[*b"A"], [*b"B"], [*b"C"]],
        [[*b"A"], [*b"B"], [*b"C"]],
        [[*b"Yes"], [*b"No"]],
    ]


async def test_a_state_that_is_no_text_is_read_as_json(api: Any) -> None:
    await ask(api, {"q": QUESTIONS["angry"]}, {"ticket": "é", "plan": [1, None]})
    (prompt,) = prompts(api)
    assert 'user:{"ticket": "é", "plan": [1, null]}\n\nIs' in prompt


async def test_meanings_of_true_and_false(api: Any) -> None:
    await ask(api, {"q": {**QUESTIONS["angry"], "criteria": {"false": "calm", "true": "rude words"}}})
    (prompt,) = prompts(api)
    assert "Is the customer angry?\nYes means: rude words\nNo means: calm\nReply" in prompt


async def test_a_model_without_a_template(make_api: Any, fakes: Any) -> None:
    api = make_api(renderer=fakes.ByteRenderer(has_template=False))
    reply = await ask(api, {"q": QUESTIONS["angry"]})
    assert reply.json()["answers"]["q"] == {"type": "noul", "noul": pytest.approx(expected(fakes, [" Yes", " No"])[0])}
    assert prompts(api)[0].endswith("Yes or No.\nAnswer:")


async def test_more_options_than_letters(make_api: Any) -> None:
    api = make_api(max_model_len=8000)
    options = {f"option {number}": None for number in range(255)}
    reply = await ask(api, {"q": {"type": "choice", "instructions": "Which?", "criteria": options}})
    answer = reply.json()["answers"]["q"]
    assert list(answer["probabilities"]) == list(options)
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    (request,) = api.generator.requests
    assert request.continuations[:2] + request.continuations[-1:] == [[*b"AA"], [*b"AB"], [*b"JU"]]
    assert "code of the right option" in prompts(api)[0]


async def test_a_single_option_is_certain(api: Any) -> None:
    reply = await ask(api, {"q": {"type": "choice", "instructions": "Which?", "criteria": {"only": None}}})
    assert reply.json()["answers"]["q"] == {
        "type": "choice", "choice": "only", "probabilities": {"only": 1.0}, "confidence": 1.0,
    }  # fmt: skip


async def test_the_first_question_runs_ahead_of_the_others(api: Any) -> None:
    """So that they find the state in the prefix cache."""
    happened: list[str] = []
    score = api.generator.score

    async def watched(request: Any) -> Any:
        happened.append("begin")
        result = await score(request)
        happened.append("end")
        return result

    api.generator.score = watched
    assert (await ask(api)).status_code == 200
    assert happened == ["begin", "end", "begin", "begin", "end", "end"]


@pytest.mark.parametrize(
    ("probabilities", "choice", "score"),
    [([1.0, 0.0, 0.0], 1, 1), ([1 / 3] * 3, 0, 0), ([0.0, 0.5, 0.5], 0.25, 0.25), ([0.5, 0.0, 0.5], 0.25, 0)],
)
def test_confidence(probabilities: list[float], choice: float, score: float) -> None:
    assert choice_confidence(probabilities) == pytest.approx(choice)
    assert score_confidence(probabilities) == pytest.approx(score)


def one(**changes: Any) -> dict[str, Any]:
    question = {"type": "choice", "instructions": "Which?", "criteria": {"a": None, "b": None}, **changes}
    return {"questions": {"q": {name: value for name, value in question.items() if value is not ...}}}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"state": None}, "state"),
        ({"state": 5}, "state"),
        ({"questions": {}}, "questions"),
        ({"questions": [1]}, "questions"),
        ({"questions": {"x" * 257: QUESTIONS["angry"]}}, "questions"),
        ({"questions": {str(number): QUESTIONS["angry"] for number in range(65)}}, "questions"),
        ({"questions": {"a": QUESTIONS["angry"], "b": 5}}, "questions.b"),
        (one(type="ranking"), "questions.q.type"),
        (one(type=...), "questions.q.type"),
        (one(instructions=...), "questions.q.instructions"),
        (one(instructions=None), "questions.q.instructions"),
        (one(instructions=True), "questions.q.instructions"),
        (one(criteria=...), "questions.q.criteria"),
        (one(criteria={}), "questions.q.criteria"),
        (one(criteria=["a", "b"]), "questions.q.criteria"),
        (one(criteria={str(number): None for number in range(256)}), "questions.q.criteria"),
        (one(criteria={"a": 1}), "questions.q.criteria[...]"),
        (one(type="score", criteria=["one"]), "questions.q.criteria"),
        (one(type="score", criteria=["x"] * 11), "questions.q.criteria"),
        (one(type="score", criteria=["x", None]), "questions.q.criteria[1]"),
        (one(type="score", criteria={"a": "b"}), "questions.q.criteria"),
        (one(type="noul", criteria={"yes": "b"}), "questions.q.criteria"),
        (one(type="noul", criteria=["yes"]), "questions.q.criteria"),
        ({"assets": {"img": {"type": "image"}}}, "assets"),
        ({"images": ["data:"]}, "images"),
        ({"stream": True}, "stream"),
        ({"priority": 2**40}, "priority"),
        ({"state": "x" * 400}, "questions.team"),
    ],
)
async def test_refused_by_name(api: Any, change: dict[str, Any], param: str) -> None:
    reply = await api.post("/v1/systemone", {"state": STATE, "questions": QUESTIONS, **change})
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert error["param"] == param
    assert param in error["message"]
    assert api.generator.requests == []


async def test_unknown_fields_are_told(api: Any) -> None:
    question = {**QUESTIONS["angry"], "weight": 2}
    reply = await ask(api, {"mood": question}, temperature=1, stream=False, images=[])
    assert reply.status_code == 200
    assert reply.headers["X-LLMOS-Ignored"].split(", ") == ["questions.mood.weight", "temperature"]


async def test_an_encoder_points_to_decoders(make_api: Any, fakes: Any) -> None:
    api = make_api(encoder=fakes.ScriptedEncoder())
    error = (await ask(api, model="small")).json()["error"]
    assert (error["param"], error["code"]) == ("model", "unsupported_value")


async def test_priority_salt_and_usage(make_api: Any) -> None:
    api = make_api()
    reply = await ask(api, {"q": QUESTIONS["angry"]}, priority=-3, cache_salt="mine")
    assert reply.status_code == 200
    (request,) = api.generator.requests
    assert (request.priority, request.cache_salt, request.n) == (-3, "mine", 2)
    metrics = (await api.http.get("/metrics")).text
    assert 'llmos:request_success_total{finished_reason="stop",model_name="tiny"} 1.0' in metrics
    assert f'llmos:prompt_tokens_total{{model_name="tiny"}} {len(request.prompt_ids):.1f}' in metrics


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(EngineBusy("full", retry_after=4.0), 429, "queue_full"), (ModelFault("nan"), 500, "server_error")],
)
async def test_what_the_engine_refuses(api: Any, error: Exception, status: int, code: str) -> None:
    api.generator.submit_error = error
    reply = await ask(api)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert api.generator.num_holds == 0


RAW = Reliability(accuracy=0.5, brier=0.5, ece=0.1, ece_low=0.0, ece_high=0.2, bins=[])
BETTER = msgspec.structs.replace(RAW, ece=0.05)
DIGEST = "sha256:" + "ab" * 32


def write_calibrations(path: Path, digest: str = DIGEST, *, is_better: bool = True, **temperatures: float) -> None:
    table = {
        task: Calibration(
            temperature=temperature,
            bias=0.5 if task == "noul" else 0.0,
            num_rows=600,
            measured=1,
            raw=RAW,
            calibrated=BETTER if is_better else RAW,
        )
        for task, temperature in temperatures.items()
    }
    path.write_bytes(msgspec.json.encode({digest: table}))


async def test_probabilities_are_calibrated_where_that_was_measured(make_api: Any, fakes: Any, tmp_path: Path) -> None:
    path = tmp_path / "calibrations.json"
    api = make_api(calibrations=CalibrationFile(path))
    raw = (await ask(api)).json()
    assert raw["calibration"] == {}
    write_calibrations(path, choice=2.0, noul=4.0)
    body = (await ask(api)).json()
    logs = [math.log(value) for value in raw["answers"]["team"]["probabilities"].values()]
    assert list(body["answers"]["team"]["probabilities"].values()) == pytest.approx(probabilities(logs, 2.0))
    odds = math.log(raw["answers"]["angry"]["noul"] / (1 - raw["answers"]["angry"]["noul"]))
    assert body["answers"]["angry"]["noul"] == pytest.approx(1 / (1 + math.exp(-(odds / 4 + 0.5))))
    assert body["answers"]["haste"] == raw["answers"]["haste"]
    assert body["calibration"] == {
        "choice": {"temperature": 2.0, "bias": 0.0, "num_rows": 600},
        "noul": {"temperature": 4.0, "bias": 0.5, "num_rows": 600},
    }
    assert (await ask(api, calibrated=False)).json()["answers"] == raw["answers"]
    write_calibrations(path, digest="sha256:another", choice=2.0)
    assert (await ask(api)).json()["answers"] == raw["answers"]
    write_calibrations(path, is_better=False, choice=2.0)
    assert (await ask(api)).json()["answers"] == raw["answers"]
    path.unlink()
    assert (await ask(api)).json()["calibration"] == {}


async def test_calibrations_that_cannot_be_read_are_no_secret(make_api: Any, tmp_path: Path) -> None:
    (tmp_path / "calibrations.json").write_text('{"d": {"choice": {"temperature": 0}}}')
    reply = await ask(make_api(calibrations=CalibrationFile(tmp_path / "calibrations.json")))
    assert reply.status_code == 503
    assert "calibrations.json" in reply.json()["error"]["message"]
    raw = await ask(make_api(calibrations=CalibrationFile(tmp_path / "calibrations.json")), calibrated=False)
    assert raw.status_code == 200
