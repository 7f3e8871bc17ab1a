"""A batch's file of requests: each line is checked before the first one is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from llmos_server.batches.spec import MAX_ERRORS, MAX_REQUESTS, LineError

MAX_CUSTOM_ID = 512
CHECKED_LINES = 1000
OVERHEAD_BYTES = 4096
"""What a line has beside the request's body."""

_FIELDS = ("custom_id", "method", "url", "body")


class LineRequest(msgspec.Struct, frozen=True):
    line: int
    """From 1 on."""
    custom_id: str
    body: bytes


class Input(msgspec.Struct, frozen=True):
    """What a file holds, or what is wrong with it."""

    num_requests: int
    model: str | None
    errors: list[LineError]


class _Body(msgspec.Struct):
    model: Any = None
    stream: Any = None


class _Refused(Exception):
    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.error = LineError(code=code, message=message, param=param)


def check_input(path: Path, endpoint: str, max_body_bytes: int, check: Callable[[], None]) -> Input:
    """All of it. check: called now and then, and may raise. Raises OSError."""
    errors: list[LineError] = []
    known: set[str] = set()
    models: set[str | None] = set()
    number = num_good = num_wrong = 0
    for number, text in _numbered(path, max_body_bytes):
        if number % CHECKED_LINES == 0:
            check()
        if len(known) >= MAX_REQUESTS:
            message = f"A batch has at most {MAX_REQUESTS} requests; send the others in another one."
            return Input(number, None, [LineError(code="too_many_requests", message=message, line=number)])
        try:
            request = _read(number, text, endpoint, max_body_bytes)
            if request.custom_id in known:
                told = f"The custom_id {request.custom_id[:100]!r} was there before."
                raise _Refused("duplicate_custom_id", told, "custom_id")
            known.add(request.custom_id)
            models.add(_check_body(request.body))
            num_good += 1
        except _Refused as refused:
            num_wrong += 1
            if len(errors) < MAX_ERRORS:
                errors.append(msgspec.structs.replace(refused.error, line=number))
    if num_wrong > len(errors):
        message = f"{num_wrong - len(errors)} more lines are wrong; these are the first {len(errors)}."
        errors.append(LineError(code="too_many_errors", message=message))
    if not number:
        errors.append(LineError(code="empty_file", message="The file has no requests: one JSON object a line."))
    return Input(num_good, models.pop() if len(models) == 1 else None, errors)


def read_requests(path: Path, endpoint: str, max_body_bytes: int) -> Iterator[LineRequest]:
    """Of a file that check_input found nothing wrong with."""
    for number, text in _numbered(path, max_body_bytes):
        yield _read(number, text, endpoint, max_body_bytes)


def _numbered(path: Path, max_body_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """Lines that aren't empty. None: it is too long to be a request, and is read past without being kept."""
    with path.open("rb") as file:
        number = 0
        while text := file.readline(max_body_bytes + OVERHEAD_BYTES):
            number += 1
            is_too_long = len(text) >= max_body_bytes + OVERHEAD_BYTES and not text.endswith(b"\n")
            if is_too_long:
                _skip(file)
            if is_too_long or text.strip():
                yield number, None if is_too_long else text


def _skip(file: BinaryIO) -> None:
    while (more := file.readline(2**20)) and not more.endswith(b"\n"):
        pass


def _read(number: int, text: bytes | None, endpoint: str, max_body_bytes: int) -> LineRequest:
    if text is None:
        raise _too_long(max_body_bytes)
    try:
        fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Refused("invalid_json_line", f"The line is no JSON object: {error}.") from None
    for name in _FIELDS:
        if name not in fields:
            raise _Refused("missing_required_parameter", f"{name} is missing.", name)
    custom_id = _text(fields["custom_id"], "custom_id")
    if not 0 < len(custom_id) <= MAX_CUSTOM_ID:
        raise _Refused("invalid_custom_id", f"custom_id has 1 to {MAX_CUSTOM_ID} characters.", "custom_id")
    if _text(fields["method"], "method") != "POST":
        raise _Refused("invalid_method", "method is POST.", "method")
    url = _text(fields["url"], "url")
    if url != endpoint:
        raise _Refused("mismatched_url", f"url is {url[:100]!r}, and the batch's endpoint is {endpoint}.", "url")
    body = bytes(fields["body"])
    if len(body) > max_body_bytes:
        raise _too_long(max_body_bytes)
    return LineRequest(number, custom_id, body)


def _too_long(most: int) -> _Refused:
    return _Refused("line_too_long", f"A request's body has at most {most} bytes (the setting api.max_body_bytes).")


def _text(raw: msgspec.Raw, name: str) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _Refused("invalid_type", f"{name} is a text.", name) from None


def _check_body(body: bytes) -> str | None:
    """The model that it names."""
    try:
        found = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _Refused("invalid_type", "body is a JSON object.", "body") from None
    if found.stream:
        raise _Refused("unsupported_value", "Answers of a batch aren't streamed; leave stream out.", "body.stream")
    return found.model if isinstance(found.model, str) else None
