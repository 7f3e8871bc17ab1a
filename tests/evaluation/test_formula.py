"""Formulas of multi graders."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.graders.formula import Formula

VALUES = {"a": 2.0, "b": 3.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a + b * 2", 8),
        ("(a + b) * 2", 10),
        ("10 - a - b", 5),
        ("12 / a / b", 2),
        ("-a^2", -4),
        ("2^3^2", 512),
        ("2**-1", 0.5),
        ("min(a, b, 1) + max(a, b)", 4),
        ("0.5*a + .5*b + 1e1", 12.5),
        ("sqrt(abs(-16)) + floor(2.7) + ceil(2.1) + log(exp(1))", 10),
        ("min", 7),
    ],
)
def test_as_on_paper(text, value) -> None:
    assert Formula(text).compute({**VALUES, "min": 7}) == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["", "a +", "a b", "(a", "a)", "sqrt(a, b)", "min(a)", "a % b", "__import__('os')", "a.b"]
)
def test_anything_else_is_refused(text) -> None:
    with pytest.raises(InvalidRequest) as told:
        Formula(text, "grader.calculate_output")
    assert (told.value.param, told.value.code) == ("grader.calculate_output", "formula_parse_error")


def test_nesting_has_an_end() -> None:
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        Formula("(" * 3000)
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        Formula("-" * 3000 + "1")


@pytest.mark.parametrize("text", ["a / (b - 3)", "log(0)", "exp(1000)", "(0-8)^0.5", "9^9^9^9"])
def test_what_is_no_number_is_an_error_of_the_item(text) -> None:
    with pytest.raises((ArithmeticError, ValueError)):
        Formula(text).compute(VALUES)


@given(
    st.recursive(
        st.integers(0, 9).map(str), lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(" ".join)
    )
)
def test_it_agrees_with_python(text) -> None:
    assert math.isclose(Formula(text).compute({}), eval(text), abs_tol=1e-9)
