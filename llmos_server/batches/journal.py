"""The answers that a batch has: a line each, in the form of its output file, appended as they come.

What is on the disk was answered, and isn't asked again. A last line that a crash has torn is dropped.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from llmos_server.batches.spec import Tokens

ANSWERS = "answers.jsonl"


class Response(msgspec.Struct, frozen=True):
    status_code: int
    request_id: str | None
    body: msgspec.Raw


class Failure(msgspec.Struct, frozen=True):
    """Of a request that got no response."""

    code: str
    message: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A line of an output file, as OpenAI writes it."""

    id: str
    custom_id: str
    response: Response | None = None
    error: Failure | None = None

    @property
    def is_good(self) -> bool:
        return self.response is not None and self.response.status_code < 400


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    """As chats and completions tell it, or as responses do."""

    prompt_tokens: int | None = None
    input_tokens: int | None = None
    completion_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Body(msgspec.Struct):
    usage: _Usage | None = None


class Place(msgspec.Struct, frozen=True):
    """Where an answer stands."""

    offset: int
    length: int
    is_good: bool


class Journal:
    """Belongs to one thread, but for sync()."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError."""
        self.places: dict[str, Place] = {}
        """By custom_id."""
        self.num_good = 0
        self.tokens = Tokens()
        self._path = folder / ANSWERS
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self._end = 0
        self._load()

    @property
    def num_failed(self) -> int:
        return len(self.places) - self.num_good

    def add(self, answer: Answer) -> None:
        """Survives the end of this process; sync() makes it survive the machine's. Raises OSError."""
        line = msgspec.json.encode(answer) + b"\n"
        rest = memoryview(line)
        place = self._end
        while rest:
            written = os.pwrite(self._file, rest, place)
            rest, place = rest[written:], place + written
        self._note(answer, len(line))

    def sync(self) -> None:
        os.fsync(self._file)

    def lines(self, custom_ids: Iterable[str], *, is_good: bool) -> Iterator[bytes]:
        """Those that are good, or those that aren't, in the order of custom_ids."""
        for custom_id in custom_ids:
            place = self.places.get(custom_id)
            if place is not None and place.is_good == is_good:
                yield os.pread(self._file, place.length, place.offset)

    def close(self) -> None:
        os.close(self._file)

    def _load(self) -> None:
        with self._path.open("rb") as file:
            for line in file:
                answer = _read(line)
                if answer is None:
                    break
                self._note(answer, len(line))
        os.ftruncate(self._file, self._end)

    def _note(self, answer: Answer, length: int) -> None:
        self.places[answer.custom_id] = Place(self._end, length, answer.is_good)
        self._end += length
        self.num_good += answer.is_good
        self.tokens += _tokens_of(answer)


def _read(line: bytes) -> Answer | None:
    """None: it was torn."""
    try:
        return msgspec.json.decode(line, type=Answer) if line.endswith(b"\n") else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _tokens_of(answer: Answer) -> Tokens:
    try:
        body = None if answer.response is None else msgspec.json.decode(answer.response.body, type=_Body)
    except msgspec.DecodeError:
        body = None
    if body is None or body.usage is None:
        return Tokens()
    usage = body.usage
    asked: Any = usage.prompt_tokens_details or usage.input_tokens_details or _Details()
    told: Any = usage.completion_tokens_details or usage.output_tokens_details or _Details()
    return Tokens(
        usage.prompt_tokens or usage.input_tokens or 0,
        asked.cached_tokens or 0,
        usage.completion_tokens or usage.output_tokens or 0,
        told.reasoning_tokens or 0,
    )
