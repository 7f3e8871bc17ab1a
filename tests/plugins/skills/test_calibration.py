"""Probabilities of the skill `classification`, and the figures that tell how far they can be trusted."""

from __future__ import annotations

import math
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmos_plugins.classification import command, measuring
from llmos_plugins.classification.calibration import (
    MEASURED,
    logistic,
    read_calibrations,
    softmax,
    to_odds,
    to_probabilities,
)
from llmos_plugins.classification.fitting import fit_logistic
from llmos_plugins.classification.measures import accuracy_and_f1
from llmos_plugins.classification.measuring import calibrate
from llmos_plugins.classification.reliability import brier_score, measure_reliability
from llmos_plugins.classification.rows import labels_of, make_rows, read_rows
from llmos_plugins.classification.skill import Classification

from llmos_server.contracts import Scores
from llmos_server.plugins.host import load_plugins
from llmos_server.settings import PluginsSettings

scores = st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=20)


@given(scores, st.floats(0.01, 10))
def test_one_of_several(values, slope):
    found = to_probabilities(values, "single", slope, 0.0)
    assert math.fsum(found) == pytest.approx(1)
    assert found[values.index(max(values))] == max(found)


@given(scores, st.floats(0.01, 10), st.floats(-5, 5))
def test_each_by_itself(values, slope, intercept):
    found = to_probabilities(values, "multiple", slope, intercept)
    assert all(0 <= p <= 1 for p in found)
    assert found[values.index(max(values))] == max(found)


def test_as_likely_as_the_others_is_a_half():
    assert to_probabilities([-3.0] * 7, "multiple", 1.0, 0.0) == pytest.approx([0.5] * 7)
    assert to_odds([0.0, math.log(3)]) == pytest.approx([-math.log(3), math.log(3)])


def measure(groups):
    return measure_reliability(groups, num_rows=len(groups), brier=0, accuracy=0)


def test_a_sure_prophet_who_is_right_is_reliable():
    right = measure([[(1.0, True)], [(0.0, False)]] * 50)
    assert (right.ece, right.ece_interval) == (0, (0, 0))
    wrong = measure([[(1.0, False)]] * 50)
    assert (wrong.ece, wrong.bins[0].observed, wrong.bins[0].count) == (1, 0, 50)


def test_the_interval_holds_the_error_and_narrows_with_rows():
    few, many = (measure([[(0.7, place % 2 == 0)] for place in range(n)]) for n in (40, 4000))
    for found in (few, many):
        low, high = found.ece_interval
        assert found.ece == pytest.approx(0.2)
        assert low <= 0.2 <= high
    assert many.ece_interval[1] - many.ece_interval[0] < (few.ece_interval[1] - few.ece_interval[0]) / 3


def test_what_hangs_together_is_drawn_together():
    pairs = [(0.7, place % 2 == 0) for place in range(400)]
    apart, together = measure([[pair] for pair in pairs]), measure([pairs[:200], pairs[200:]])
    assert apart.ece == together.ece
    assert together.ece_interval != apart.ece_interval


def test_brier():
    assert brier_score([[1.0, 0.0]], [[True, False]]) == 0
    assert brier_score([[1.0, 0.0], [0.5, 0.5]], [[False, True], [False, True]]) == pytest.approx((2 + 0.5) / 2)


def test_accuracy_and_f1():
    a, b, none = frozenset("a"), frozenset("b"), frozenset[str]()
    figures = accuracy_and_f1([(a, a), (a, b), (b, b), (b, none)])
    assert figures == {"accuracy": 0.5, "f1": pytest.approx((2 / 3 + 2 / 4) / 2)}


def test_the_rows_are_what_their_generator_makes():
    made = make_rows()
    assert [row for multiple in (False, True) for row in read_rows(multiple=multiple)] == made
    assert len(read_rows(multiple=False)) >= 500
    folds: dict[str, int] = {}
    for row in made:
        assert set(row.expected) <= {label["name"] for label in labels_of(row.task)}
        assert folds.setdefault(row.group, row.fold) == row.fold  # No template is in two folds.


def oracle(sharpness: float):
    """Scores whose softmax is right once they are divided by sharpness: labels are drawn from it."""

    def score(rows):
        chance = random.Random(1)
        found = []
        for row in rows:
            names = [label["name"] for label in labels_of(row.task)]
            while True:
                logits = [chance.gauss(0, 1.5) for _ in names]
                if chance.choices(names, softmax(logits))[0] in row.expected:
                    break
            found.append([sharpness * logit for logit in logits])
        return found

    return score


OF = {"model": "m", "model_digest": "sha256:" + "ab" * 32, "skill_version": Classification.version}


def test_a_boaster_is_found_out():
    found = calibrate("single", oracle(3.0), **OF)
    assert found.slope == pytest.approx(1 / 3, rel=0.15)
    assert found.raw.ece > 0.15
    assert found.calibrated.ece < 0.06
    assert found.helps
    assert found.calibrated.brier < found.raw.brier
    assert found.raw.accuracy == found.calibrated.accuracy


def test_who_knows_has_nothing_to_correct():
    assert calibrate("single", oracle(1.0), **OF).slope == pytest.approx(1, rel=0.15)


def test_several_labels():
    found = calibrate("multiple", oracle(3.0), **OF)
    assert found.helps
    assert found.calibrated.ece < found.raw.ece / 2
    assert found.intercept < 0  # Two of eight fit on average; 0.5 would be the mean of all.


@given(st.floats(0.2, 4), st.floats(-2, 2))
@settings(max_examples=10, deadline=None)
def test_a_logistic_curve_is_found_again(slope, intercept):
    chance = random.Random(3)
    odds = [chance.gauss(0, 2) for _ in range(4000)]
    found = fit_logistic(odds, [chance.random() < logistic(slope * x + intercept) for x in odds])
    assert found == pytest.approx((slope, intercept), rel=0.3, abs=0.3)


def test_rows_that_are_told_apart_without_an_error_have_a_finite_fit():
    slope, intercept = fit_logistic([-1.0] * 50 + [1.0] * 50, [False] * 50 + [True] * 50)
    assert 1 < slope < 20
    assert abs(intercept) < 1e-6


@pytest.fixture(scope="module")
def kept():
    helpful, useless = calibrate("single", oracle(3.0), **OF), calibrate("multiple", oracle(0.9), **OF)
    return [helpful, msgspec.structs.replace(useless, calibrated=useless.raw)]


class TestMeasured:
    """A calibration in a file that settings name."""

    @pytest.fixture
    def api(self, make_api, tmp_path, kept):
        (tmp_path / "c.json").write_bytes(msgspec.json.encode(kept))
        options = {"classification": {"calibrations": [str(tmp_path / "c.json")]}}
        host = load_plugins(PluginsSettings(enabled=("classification",), options=options))
        api = make_api(plugins=host, max_model_len=4000)

        async def score(request):
            told = b"sport" in bytes(i for i in request.prompt_ids if i < 256).rpartition(b"Text: ")[2]
            return Scores(logprobs=[[3.0 * told * (ids == list(b'"sport"'))] for ids in request.continuations])

        api.generator.score = score
        return api

    async def run(self, api, **fields):
        body = {"text": "sport", "labels": ["sport", "music", "food"], **fields}
        reply = await api.post("/v1/skills/classification/run", body)
        return reply.json()["details"]

    async def test_it_is_applied_and_told(self, api):
        raw = await self.run(api, calibrated=False)
        assert raw["confidence"] == pytest.approx(softmax([3.0, 0, 0])[0])
        assert raw["calibration"]["is_applied"] is False
        told = await self.run(api)
        slope = told["calibration"]["slope"]
        assert told["confidence"] == pytest.approx(softmax([3.0 * slope, 0, 0])[0])
        assert told["calibration"].items() >= {"is_applied": True, "num_rows": 900}.items()
        assert told["calibration"]["ece_calibrated"] < told["calibration"]["ece_raw"]

    async def test_one_that_does_not_help_is_told_and_not_applied(self, api):
        told, raw = await self.run(api, multiple=True), await self.run(api, multiple=True, calibrated=False)
        assert told["calibration"]["is_applied"] is False
        assert told["probabilities"] == raw["probabilities"]

    async def test_the_command_writes_what_the_skill_reads(self, api, run_app, tmp_path, monkeypatch, capsys):
        rows = {m: read_rows(multiple=m)[::20] for m in (False, True)}
        monkeypatch.setattr(measuring, "read_rows", lambda *, multiple: rows[multiple])
        with run_app(api.app) as url:
            command.run(tmp_path / "new.json", url=url)
        single, multiple = read_calibrations([tmp_path / "new.json"])
        assert (single.kind, multiple.kind) == ("single", "multiple")
        assert (single.model_digest, single.raw.num_rows) == (OF["model_digest"], 45)
        assert "ECE" in capsys.readouterr().out

    def test_without_a_server(self, tmp_path):
        with pytest.raises(SystemExit, match="doesn't answer"):
            command.run(tmp_path / "new.json", url="http://127.0.0.1:9")

    def test_a_file_that_is_none_is_refused_by_its_name(self, tmp_path):
        (tmp_path / "c.json").write_text("{}")
        for path in (tmp_path / "c.json", tmp_path / "none.json"):
            options = {"classification": {"calibrations": [str(path)]}}
            host = load_plugins(PluginsSettings(enabled=("classification",), options=options))
            assert str(path) in host.plugins["classification"].reason


def test_what_comes_with_llmos_is_of_this_version_and_the_default_model(smollm2):
    found = read_calibrations([MEASURED])
    assert {(c.model_digest, c.skill_version) for c in found} == {(smollm2.digest, Classification.version)}
    assert {(c.kind, c.helps) for c in found} == {("single", False), ("multiple", True)}
    assert min(c.raw.num_rows for c in found if c.kind == "single") >= 500
