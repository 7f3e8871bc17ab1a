"""What is wrong with a file of requests, and in which line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmos_server.batches import input_lines, spec
from llmos_server.batches.input_lines import OVERHEAD_BYTES, check_input, read_requests

ENDPOINT = "/v1/chat/completions"
MAX_BODY = 1000
FIELDS = ("custom_id", "method", "url", "body")


def line(number: int = 1, **changes: Any) -> dict[str, Any]:
    fields = {"custom_id": f"r{number}", "method": "POST", "url": ENDPOINT, "body": {"model": "m", "n": number}}
    return {name: value for name, value in {**fields, **changes}.items() if value is not ...}


def check(path: Path) -> Any:
    return check_input(path, ENDPOINT, MAX_BODY, lambda: None)


def test_a_good_file(write_input: Callable[..., Path]) -> None:
    path = write_input(line(1), "\n", line(2, extra="ignored"), json.dumps(line(3)))
    found = check(path)
    assert (found.num_requests, found.model, found.errors) == (3, "m", [])
    requests = list(read_requests(path, ENDPOINT, MAX_BODY))
    assert [(one.line, one.custom_id, json.loads(one.body)["n"]) for one in requests] == [
        (1, "r1", 1),
        (3, "r2", 2),
        (4, "r3", 3),
    ]


@pytest.mark.parametrize(
    ("wrong", "code", "param"),
    [
        ("no json\n", "invalid_json_line", None),
        ("[1]\n", "invalid_json_line", None),
        ("\x00\n", "invalid_json_line", None),
        ("[" * 500 + "\n", "invalid_json_line", None),
        *(
            (line(2, **{name: ...}), "missing_required_parameter", name)
            for name in ("custom_id", "method", "url", "body")
        ),
        (line(1), "duplicate_custom_id", "custom_id"),
        (line(2, custom_id=""), "invalid_custom_id", "custom_id"),
        (line(2, custom_id=7), "invalid_type", "custom_id"),
        (line(2, method="GET"), "invalid_method", "method"),
        (line(2, url="/v1/embeddings"), "mismatched_url", "url"),
        (line(2, body="text"), "invalid_type", "body"),
        (line(2, body={"stream": True}), "unsupported_value", "body.stream"),
        (line(2, body={"text": "x" * MAX_BODY}), "line_too_long", None),
        (line(2, body={"text": "x" * (MAX_BODY + OVERHEAD_BYTES)}), "line_too_long", None),
    ],
)
def test_what_is_wrong(write_input: Callable[..., Path], wrong: Any, code: str, param: str | None) -> None:
    found = check(write_input(line(1), wrong, line(3)))
    assert [(one.line, one.code, one.param) for one in found.errors] == [(2, code, param)]
    assert found.num_requests == 2


def test_no_requests_and_too_many(write_input: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.code for one in check(write_input("\n")).errors] == ["empty_file"]
    monkeypatch.setattr(input_lines, "MAX_REQUESTS", 2)
    found = check(write_input(line(1), line(2), line(3)))
    assert [(one.line, one.code) for one in found.errors] == [(3, "too_many_requests")]
    assert spec.MAX_REQUESTS == 50_000


def test_many_errors_are_counted(write_input: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_lines, "MAX_ERRORS", 2)
    found = check(write_input(*["x\n"] * 5))
    assert [(one.line, one.code) for one in found.errors] == [
        (1, "invalid_json_line"),
        (2, "invalid_json_line"),
        (None, "too_many_errors"),
    ]
    assert "3 more lines" in found.errors[-1].message


def test_models_that_differ_are_no_ones(write_input: Callable[..., Path]) -> None:
    assert check(write_input(line(1), line(2, body={"model": "other"}))).model is None
    assert check(write_input(line(1, body={}))).model is None
