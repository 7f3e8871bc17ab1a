"""Calibration: what is fitted, and what is told of it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_server.calibration.calibration import calibrated, probabilities
from llmos_server.calibration.file import CalibrationFile
from llmos_server.calibration.fitting import Row, calibrate, fit
from llmos_server.calibration.reliability import Judged, Reliability, measure

TEMPERATURE, BIAS = 2.5, 0.7


def make_rows(num: int, num_options: int, *, temperature: float = TEMPERATURE, bias: float = 0.0) -> list[Row]:
    """Scores that are too sure: what is true follows them at the temperature."""
    chance = random.Random(3)
    rows = []
    for place in range(num):
        scores = [chance.gauss(0, 4) for _ in range(num_options)]
        weights = probabilities(scores, temperature, bias)
        rows.append(Row(scores, chance.choices(range(num_options), weights)[0], str(place), place % 4))
    return rows


def test_the_temperature_that_made_the_rows_is_found() -> None:
    temperature, bias = fit(make_rows(4000, 4), has_bias=False)
    assert temperature == pytest.approx(TEMPERATURE, rel=0.08)
    assert bias == 0.0


@given(st.floats(0.3, 5), st.floats(-2, 2))
@settings(max_examples=10, deadline=None)
def test_a_bias_is_found_beside_it(temperature: float, bias: float) -> None:
    found = fit(make_rows(4000, 2, temperature=temperature, bias=bias), has_bias=True)
    assert found == pytest.approx((temperature, bias), rel=0.2, abs=0.3)


def test_rows_that_are_told_apart_without_an_error_have_a_finite_fit() -> None:
    rows = [Row([1.0, 0.0], 0, "", 0), Row([-1.0, 0.0], 1, "", 0)] * 50
    temperature, bias = fit(rows, has_bias=True)
    assert 0.05 < temperature < 1
    assert abs(bias) < 1e-3


def test_a_model_that_ranks_the_wrong_way_is_told_nothing_more_than_how_often_it_is_true() -> None:
    rows = [Row([1.0, 0.0], 1, "", 0), Row([1.0, 0.0], 1, "", 0), Row([-1.0, 0.0], 0, "", 0)] * 50
    temperature, bias = fit(rows, has_bias=True)
    assert probabilities([0.0, 0.0], temperature, bias)[0] == pytest.approx(1 / 3, abs=0.02)
    assert temperature == pytest.approx(54.6, rel=0.01)


def test_calibration_makes_unseen_rows_truer() -> None:
    found = calibrate(make_rows(1200, 3), has_bias=False, num_rows=1200, measured=5, version="1.0")
    assert found.calibrated.accuracy == pytest.approx(found.raw.accuracy, abs=0.01)
    assert found.calibrated.ece < found.raw.ece / 2
    assert found.helps
    assert found.calibrated.brier < found.raw.brier
    assert found.raw.ece_low < found.raw.ece < found.raw.ece_high + 0.02
    assert (found.num_rows, found.measured, found.version) == (1200, 5, "1.0")
    assert calibrated([1.0, 0.0, 3.0], found) == probabilities([1.0, 0.0, 3.0], found.temperature)


def test_each_fold_is_judged_by_the_others() -> None:
    """Of which one knows the answers: what is fitted on that fold alone makes all others too sure."""
    rows = [Row([1.0, 0.0], place % 5 == 0, "", 0) for place in range(400)]
    same = [Row([1.0, 0.0], 0, "", 1)] * 400
    found = calibrate(rows + same, has_bias=True, num_rows=800, measured=0)
    assert {round(each.predicted, 1) for each in found.calibrated.bins} == {0.8, 1.0}
    with pytest.raises(ValueError, match="one fold"):
        calibrate(same, has_bias=True, num_rows=400, measured=0)


def judge(*pairs: tuple[float, bool], group: str = "") -> list[Judged]:
    """Probabilities of the first option, and whether it came true."""
    return [Judged([p, 1 - p], int(not came_true), group or str(place)) for place, (p, came_true) in enumerate(pairs)]


def reliability(judged: list[Judged]) -> Reliability:
    return measure(judged, of_first=True)


def test_quality_by_hand() -> None:
    rows = [Judged([0.9, 0.1], 0, "a"), Judged([0.9, 0.1], 1, "b"), Judged([0.3, 0.7], 1, "c")]
    found = measure(rows, of_first=False)
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.brier == pytest.approx((0.02 + 1.62 + 0.18) / 3)
    assert found.ece == pytest.approx((abs(1.8 - 1) + abs(0.7 - 1)) / 3)
    assert [(each.low, each.count, each.observed) for each in found.bins] == [(0.7, 1, 1.0), (0.9, 2, 0.5)]
    of_first = measure(rows, of_first=True)
    assert of_first.ece == pytest.approx((abs(1.8 - 1) + abs(0.3 - 0)) / 3)
    assert (of_first.accuracy, of_first.brier) == (found.accuracy, found.brier)


def test_a_sure_prophet_who_is_right_is_reliable() -> None:
    right = reliability(judge(*[(1.0, True), (0.0, False)] * 50))
    assert (right.ece, right.ece_low, right.ece_high, right.brier) == (0, 0, 0, 0)
    wrong = reliability(judge(*[(1.0, False)] * 50))
    assert (wrong.ece, wrong.brier, wrong.bins[0].observed, wrong.bins[0].count) == (1, 2, 0, 50)


def test_the_interval_holds_the_error_and_narrows_with_rows() -> None:
    few, many = (reliability(judge(*[(0.7, place % 2 == 0) for place in range(n)])) for n in (40, 4000))
    for found in (few, many):
        assert found.ece == pytest.approx(0.2)
        assert found.ece_low <= 0.2 <= found.ece_high
    assert many.ece_high - many.ece_low < (few.ece_high - few.ece_low) / 3


def test_what_hangs_together_is_drawn_together() -> None:
    pairs = [(0.7, place % 2 == 0) for place in range(200)] + [(0.7, True)] * 200
    apart = reliability(judge(*pairs))
    together = reliability([*judge(*pairs[:200], group="a"), *judge(*pairs[200:], group="b")])
    assert apart.ece == pytest.approx(together.ece)
    assert together.ece_high - together.ece_low > 2 * (apart.ece_high - apart.ece_low)


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    file = CalibrationFile(tmp_path / "c.json")
    assert file.find("d", "choice") is None
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(ValueError, match=r"c\.json"):
        file.find("d", "choice")
    (tmp_path / "c.json").write_text("{}")
    assert file.find("d", "choice") is None


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    quality = {"accuracy": 0.5, "brier": 0.5, "ece": 0.2, "ece_low": 0.1, "ece_high": 0.3}
    kept = {"temperature": 2.0, "bias": 0.0, "num_rows": 600, "measured": 1, "raw": quality, "calibrated": quality}
    (tmp_path / "c.json").write_text(json.dumps({"d": {"choice": kept}}))
    found = CalibrationFile(tmp_path / "c.json").find("d", "choice")
    assert found is not None
    assert found.temperature == 2.0
