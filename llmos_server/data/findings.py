"""What is found in a file of training examples: where, what, and what to do."""

from __future__ import annotations

import msgspec

MAX_SHOWN = 60
"""Characters of a file's own text in a message."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    line: int
    """From 1; 0 is the file as a whole."""
    field: str
    """As messages[1].content; "" is the whole line."""
    code: str
    """A stable word, by which findings are counted."""
    message: str
    """With the remedy, and without line and field."""
    is_error: bool = True
    """The example can't be trained on. Else it can, and somebody should look."""

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line else "file"
        return f"{place}{f', {self.field}' if self.field else ''}: {self.message}"


class Finder:
    """Collects what is found in one line."""

    def __init__(self, line: int) -> None:
        self.line = line
        self.findings: list[Finding] = []

    def refuse(self, field: str, code: str, message: str) -> None:
        self.findings.append(Finding(line=self.line, field=field, code=code, message=message))

    def warn(self, field: str, code: str, message: str) -> None:
        self.findings.append(Finding(line=self.line, field=field, code=code, message=message, is_error=False))

    @property
    def has_errors(self) -> bool:
        return any(finding.is_error for finding in self.findings)


def shown(value: object) -> str:
    """For messages: bounded."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def kind_of(value: object) -> str:
    """JSON's name of a value's type."""
    if value is None:
        return "null"
    names = {bool: "a boolean", str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
