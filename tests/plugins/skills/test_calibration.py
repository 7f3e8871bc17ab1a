"""Probabilities of the skill `classification`, and the figures that tell how far they can be trusted."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmos_plugins.classification.calibration import to_odds, to_probabilities
from llmos_plugins.classification.measures import accuracy_and_f1
from llmos_plugins.classification.reliability import brier_score, measure_reliability
from llmos_plugins.classification.rows import labels_of, make_rows, read_rows

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


def test_a_sure_prophet_who_is_right_is_reliable():
    right = measure_reliability([[(1.0, True)], [(0.0, False)]] * 50, 0.0, 1.0)
    assert (right.ece, right.ece_interval) == (0, (0, 0))
    wrong = measure_reliability([[(1.0, False)]] * 50, 2.0, 0.0)
    assert (wrong.ece, wrong.bins[0].observed, wrong.bins[0].count) == (1, 0, 50)


def test_the_interval_holds_the_error_and_narrows_with_rows():
    few, many = (measure_reliability([[(0.7, place % 2 == 0)] for place in range(n)], 0, 0) for n in (40, 4000))
    for found in (few, many):
        low, high = found.ece_interval
        assert found.ece == pytest.approx(0.2)
        assert low <= 0.2 <= high
    assert many.ece_interval[1] - many.ece_interval[0] < (few.ece_interval[1] - few.ece_interval[0]) / 3


def test_brier():
    assert brier_score([[1.0, 0.0]], [[True, False]]) == 0
    assert brier_score([[1.0, 0.0], [0.5, 0.5]], [[False, True], [False, True]]) == pytest.approx((2 + 0.5) / 2)


def test_accuracy_and_f1():
    a, b, none = frozenset("a"), frozenset("b"), frozenset[str]()
    figures = accuracy_and_f1([(a, a), (a, b), (b, b), (b, none)])
    assert figures == {"accuracy": 0.5, "f1": pytest.approx((2 / 3 + 2 / 4) / 2)}


def test_the_rows_are_what_their_generator_makes():
    made = make_rows()
    kept = [
        row
        for split in ("fit", "held_out")
        for multiple in (False, True)
        for row in read_rows(split, multiple=multiple)
    ]
    assert kept == made
    held_out = read_rows("held_out", multiple=False)
    assert len(held_out) >= 500
    assert not {row.text for row in held_out} & {row.text for row in read_rows("fit", multiple=False)}
    for row in made:
        assert set(row.expected) <= {label["name"] for label in labels_of(row.task)}
