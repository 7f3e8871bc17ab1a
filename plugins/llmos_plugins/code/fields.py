"""What the skill takes and answers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from llmos_server import Execution

Task = Literal["write", "explain", "review", "fix", "infill"]


class CodeInput(Struct, kw_only=True):
    task: Task
    instruction: Annotated[str, Meta(min_length=1)]
    """What is wanted, or what is wrong."""
    code: str = ""
    """What it is about; for write, code that is there already."""
    language: Annotated[str, Meta(pattern=r"^[A-Za-z0-9+#._-]{1,40}$")] = "python"
    marker: Annotated[str, Meta(min_length=1, max_length=100)] = "<FILL>"
    """Stands once in the code, for the gap to fill: infill alone."""
    max_tokens: Annotated[int, Meta(ge=1, le=32768)] = 1024
    """Of each answer of the model."""
    run: bool = False
    """Run the code, where the server has a sandbox. Python alone."""
    tests: Annotated[str, Meta(max_length=100_000)] = ""
    """Python that is run behind the code, and fails unless that is right; the model does not see it."""
    stdin: Annotated[str, Meta(max_length=1_000_000)] = ""
    """For the program, with run or tests."""


class Finding(Struct, kw_only=True):
    """One remark of a review."""

    line: int
    """Of the code, from 1; within it, whatever the model wrote."""
    severity: Literal["error", "warning", "hint"]
    problem: str
    suggestion: str


class CodeOutput(Struct, kw_only=True):
    result: str | list[Finding]
    """write, fix: the code. infill: what the gap is filled with. explain: text. review: findings."""
    language: str
    code: str | None
    """infill: the whole code, the gap filled."""
    parses: bool | None
    """Whether the code (infill: the whole) parses; None for text, and for languages that aren't parsed here."""
    parse_error: str
    """"" where it parses."""
    attempts: int
    """How often the model was asked: code that doesn't parse is asked for once more, with the error."""
    is_cut: bool
    """The model's last answer was cut by max_tokens or by its context."""
    execution: Execution | None = None
    """None: nothing was to be run, or what was written doesn't parse."""
    passed: bool | None = None
    """Whether the tests ran to their end; None without tests."""
