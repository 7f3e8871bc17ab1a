"""Probabilities of the skill `classification`, and the figures that tell how far they can be trusted."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmos_plugins.classification.measures import accuracy_and_f1
from llmos_plugins.classification.odds import to_odds, to_probabilities
from llmos_plugins.classification.rows import make_rows
from llmos_plugins.classification.skill import Classification

from llmos_server import Calibration, ScriptedContext, try_skill
from llmos_server.calibration.calibration import Reliability, probabilities
from llmos_server.calibration.file import CalibrationFile
from llmos_server.contracts import Scores

MEASURED = "3a82e688a42d7cb5483263f926f3e06d54867675bbb04e5e0af83a8165d0af10"
"""Of the rows that calibrations.json was measured on."""
RAW = Reliability(accuracy=0.5, brier=0.5, ece=0.2, ece_low=0.1, ece_high=0.3, bins=[])
BETTER = msgspec.structs.replace(RAW, ece=0.05)
HELPFUL = Calibration(temperature=3.0, version="1.1", num_rows=900, measured=1, raw=RAW, calibrated=BETTER)
USELESS = msgspec.structs.replace(HELPFUL, bias=0.5, calibrated=RAW)

scores = st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=20)


@given(scores, st.floats(0.1, 100))
def test_one_of_several(values: list[float], temperature: float) -> None:
    found = to_probabilities(values, msgspec.structs.replace(HELPFUL, temperature=temperature), multiple=False)
    assert math.fsum(found) == pytest.approx(1)
    assert found[values.index(max(values))] == max(found)


@given(scores, st.floats(0.1, 100), st.floats(-5, 5))
def test_each_by_itself(values: list[float], temperature: float, bias: float) -> None:
    calibration = msgspec.structs.replace(HELPFUL, temperature=temperature, bias=bias)
    found = to_probabilities(values, calibration, multiple=True)
    assert all(0 <= p <= 1 for p in found)
    assert found[values.index(max(values))] == max(found)


def test_as_likely_as_the_others_is_a_half() -> None:
    assert to_probabilities([-3.0] * 7, None, multiple=True) == pytest.approx([0.5] * 7)
    assert to_odds([0.0, math.log(3)]) == pytest.approx([-math.log(3), math.log(3)])


def test_accuracy_and_f1() -> None:
    a, b, none = frozenset("a"), frozenset("b"), frozenset[str]()
    figures = accuracy_and_f1([(a, a), (a, b), (b, b), (b, none)])
    assert figures == {"accuracy": 0.5, "f1": pytest.approx((2 / 3 + 2 / 4) / 2)}


def test_the_rows_are_those_that_were_measured() -> None:
    made = make_rows()
    text = "".join(msgspec.json.encode(row).decode() + "\n" for row in made)
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "3a82e688a42d7cb5483263f926f3e06d54867675bbb04e5e0af83a8165d0af10"
    )
    assert min(sum(isinstance(row["answer"], kind) for row in made) for kind in (str, list)) >= 500
    folds: dict[str, int] = {}
    for row in made:
        answer = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
        assert set(answer) <= {label["name"] for label in row["labels"]}
        assert folds.setdefault(row["group"], row["fold"]) == row["fold"]  # No template is in two folds.


class TestMeasured:
    """A calibration in the server's file."""

    @pytest.fixture
    def api(self, make_api: Callable[..., Any], built_in: Any, tmp_path: Any) -> Any:
        tasks = {"classification/one": HELPFUL, "classification/several": USELESS}
        path = tmp_path / "calibrations.json"
        path.write_bytes(msgspec.json.encode({"sha256:" + "ab" * 32: tasks}))
        api = make_api(plugins=built_in, calibrations=CalibrationFile(path), max_model_len=4000)

        async def score(request: Any) -> Scores:
            told = b"sport" in bytes(i for i in request.prompt_ids if i < 256).rpartition(b"Text: ")[2]
            return Scores(logprobs=[[3.0 * told * (ids == list(b'"sport"'))] for ids in request.continuations])

        api.generator.score = score
        return api

    async def run(self, api: Any, **fields: Any) -> dict[str, Any]:
        body = {"text": "sport", "labels": ["sport", "music", "food"], **fields}
        reply = await api.post("/v1/skills/classification/run", body)
        assert reply.status_code == 200, reply.text
        details: dict[str, Any] = reply.json()["details"]
        return details

    async def test_it_is_applied_and_told(self, api: Any) -> None:
        raw = await self.run(api, calibrated=False)
        assert raw["confidence"] == pytest.approx(probabilities([3.0, 0, 0])[0])
        assert raw["calibration"]["is_applied"] is False
        told = await self.run(api)
        assert told["confidence"] == pytest.approx(probabilities([1.0, 0, 0])[0])
        figures = {"temperature": 3.0, "bias": 0.0, "num_rows": 900, "ece_raw": 0.2, "ece_calibrated": 0.05}
        assert told["calibration"] == {"is_applied": True, **figures}

    async def test_one_that_does_not_help_is_told_and_not_applied(self, api: Any) -> None:
        told, raw = await self.run(api, multiple=True), await self.run(api, multiple=True, calibrated=False)
        assert told["calibration"]["is_applied"] is False
        assert told["probabilities"] == raw["probabilities"]

    async def test_of_another_version_it_does_not_count(self, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Classification, "version", "9.9")
        assert (await self.run(api))["calibration"] is None

    async def test_a_file_that_cannot_be_read_ends_the_run(self, api: Any, tmp_path: Any) -> None:
        (tmp_path / "calibrations.json").write_text("[]")
        body = {"text": "sport", "labels": ["sport", "music", "food"]}
        reply = await api.post("/v1/skills/classification/run", body)
        assert reply.status_code == 503
        assert "calibrations.json" in reply.json()["error"]["message"]


def test_a_scripted_one() -> None:
    context = ScriptedContext([], calibrations={"one": HELPFUL}, score_of=lambda answer: 3.0 * (answer == '"a"'))
    output = try_skill(Classification(), {"text": "t", "labels": ["a", "b"]}, context)
    assert output.calibration is not None
    assert output.calibration.is_applied


def test_what_comes_with_llmos_is_of_this_version_and_the_default_model(smollm2: Any) -> None:
    file = Classification().calibrations
    one = file.find(smollm2.digest, "classification/one", Classification.version)
    several = file.find(smollm2.digest, "classification/several", Classification.version)
    assert one is not None
    assert several is not None
    assert (one.helps, several.helps) == (False, True)
    assert min(one.num_rows, several.num_rows) >= 500
