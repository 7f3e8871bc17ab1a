"""The cases that a skill is measured by: cases.jsonl, one a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

I = TypeVar("I", bound=msgspec.Struct)  # noqa: E741
O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{"id": "...", "input": {...}, "expected": ...}`"""

    id: str
    input: dict[str, Any]
    """Fields of the skill's input."""
    expected: Any = None
    """Whatever the skill's measure compares with."""


class Outcome(msgspec.Struct, Generic[I, O], frozen=True, kw_only=True):
    """A case that was run."""

    case: Case
    input: I
    output: O | None = None
    """None: the run failed."""
    error: str = ""


def read_cases(path: Path, input_type: type[msgspec.Struct]) -> list[Case]:
    """Raises ValueError that names the line."""
    if not path.is_file():
        return []
    cases = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            case = msgspec.json.decode(line, type=Case)
            msgspec.convert(case.input, input_type)
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        cases.append(case)
    if len({case.id for case in cases}) < len(cases):
        raise ValueError(f"{path}: two cases have the same id")
    return cases
