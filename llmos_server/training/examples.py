"""A training file to rows of tokens: nothing is cut, and what is left out is counted. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar

from llmos_server.data.examples import (
    ChatExample,
    Example,
    Format,
    LabelledExample,
    PreferenceExample,
    PromptExample,
    RatedExample,
    TextExample,
)
from llmos_server.data.reading import read_examples
from llmos_server.data.report import Report
from llmos_server.data.scanning import Scan
from llmos_server.errors import InvalidRequest
from llmos_server.training.tokens import Preference, Prompt, Rated, Rendering, Tokens

Row = TypeVar("Row")

MAX_NAMED = 5
"""Lines that one message lists."""


@dataclass
class Rows(Generic[Row]):
    """What a file comes to."""

    rows: list[Row] = field(default_factory=list)
    num_examples: int = 0
    longest: int = 0
    """Tokens of the longest row."""
    too_long: list[int] = field(default_factory=list)
    """Lines that were left out."""


@dataclass(frozen=True)
class Limits:
    """max_tokens: of one sequence. too_long: see TuneSpec. param: the field that errors name."""

    max_tokens: int
    too_long: Literal["refuse", "drop"] = "refuse"
    param: str = "training_file"
    on_report: Callable[[Report], None] = lambda report: None
    """Told what else was found in a file that is good."""


def read_conversations(path: Path, rendering: Rendering, limits: Limits) -> Rows[Tokens]:
    """Raises InvalidRequest naming the line."""

    def to_rows(example: Example) -> Iterator[tuple[Tokens, int]]:
        assert isinstance(example, ChatExample)
        for tokens in rendering.conversation(example):
            yield tokens, len(tokens.input_ids)

    return _read(path, "supervised", to_rows, limits)


def read_preferences(path: Path, rendering: Rendering, limits: Limits) -> Rows[Preference]:
    """Raises InvalidRequest naming the line."""

    def to_rows(example: Example) -> Iterator[tuple[Preference, int]]:
        assert isinstance(example, PreferenceExample)
        found = rendering.preference(example)
        yield found, len(found.prompt_ids) + max(len(found.chosen_ids), len(found.rejected_ids))

    return _read(path, "preference", to_rows, limits)


def read_ratings(path: Path, rendering: Rendering, limits: Limits) -> Rows[Rated]:
    """Raises InvalidRequest naming the line."""

    def to_rows(example: Example) -> Iterator[tuple[Rated, int]]:
        assert isinstance(example, RatedExample)
        prompt = rendering.prompt(example.messages, example.tools)
        answer = rendering.answer(prompt, [*example.messages, example.answer], example.tools)
        yield Rated(prompt, answer, example.is_good), len(prompt) + len(answer)

    return _read(path, "rating", to_rows, limits)


def read_prompts(path: Path, rendering: Rendering, limits: Limits) -> Rows[Prompt]:
    """Raises InvalidRequest naming the line."""

    def to_rows(example: Example) -> Iterator[tuple[Prompt, int]]:
        assert isinstance(example, PromptExample)
        ids = rendering.prompt(example.messages, example.tools)
        yield Prompt(ids, example.messages, example.item), len(ids)

    return _read(path, "reinforcement", to_rows, limits)


def read_labels(path: Path, count: Callable[[LabelledExample], int], limits: Limits) -> Rows[LabelledExample]:
    """count: an example's tokens. Raises InvalidRequest naming the line."""

    def to_rows(example: Example) -> Iterator[tuple[LabelledExample, int]]:
        assert isinstance(example, LabelledExample)
        yield example, count(example)

    return _read(path, "label", to_rows, limits)


def read_texts(path: Path, rendering: Rendering, limits: Limits) -> Rows[Tokens]:
    """Of JSON lines with "text", or, by another suffix than .jsonl, of a text a line. Raises InvalidRequest."""

    def to_rows(example: Example) -> Iterator[tuple[Tokens, int]]:
        assert isinstance(example, TextExample)
        tokens = rendering.text(example)
        yield tokens, len(tokens.input_ids)

    return _read(path, "text", to_rows, limits)


def _read(
    path: Path, format: Format, to_rows: Callable[[Example], Iterator[tuple[Row, int]]], limits: Limits
) -> Rows[Row]:
    found: Rows[Row] = Rows()
    scan = Scan(format, is_plain=format == "text" and path.suffix != ".jsonl")
    try:
        for example in read_examples(path, scan, param=limits.param, on_report=limits.on_report):
            try:
                rows = list(to_rows(example))
            except InvalidRequest as error:
                raise InvalidRequest(f"line {example.line}: {error}", param=limits.param, code=error.code) from None
            longest = max(length for _, length in rows)
            if longest > limits.max_tokens:
                found.too_long.append(example.line)
                continue
            found.num_examples += 1
            found.longest = max(found.longest, longest)
            found.rows += [row for row, _ in rows]
    except OSError as error:
        raise InvalidRequest(f"{path}: can't be read ({error.strerror}).", param=limits.param) from None
    if found.too_long and limits.too_long == "refuse":
        raise InvalidRequest(
            f"{_lines(found.too_long)} longer than the {limits.max_tokens} tokens of max_length, and no example is "
            "cut. Raise max_length, shorten them, or have them left out (too_long: drop).",
            param=limits.param,
            code="too_long",
        )
    if not found.rows:
        raise InvalidRequest(f"{path.name}: holds no example to learn from.", param=limits.param, code="empty_file")
    return found


def _lines(numbers: list[int]) -> str:
    named = ", ".join(map(str, numbers[:MAX_NAMED]))
    more = f" and {len(numbers) - MAX_NAMED} more" if len(numbers) > MAX_NAMED else ""
    return f"Line {named} is" if len(numbers) == 1 else f"Lines {named}{more} are"
