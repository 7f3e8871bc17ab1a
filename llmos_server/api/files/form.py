"""A form with one file, read while it comes: its fields into memory, its content to wherever it is written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from llmos_server.api.errors import RefusedEarly, UnsupportedMediaType
from llmos_server.errors import InvalidRequest

MAX_PARTS = 32
MAX_FIELD_BYTES = 1024
MAX_FILENAME_LENGTH = 255


class Sink(Protocol):
    num_bytes: int

    async def write(self, data: bytes | bytearray) -> None: ...


@dataclass
class Form:
    """What a form said."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    """Of the file; None: there was none."""


def boundary_of(content_type: str) -> str:
    """Raises UnsupportedMediaType."""
    kind, options = parse_options_header(content_type)
    boundary: str = options.get("boundary", "")
    if kind != "multipart/form-data" or not 0 < len(boundary) <= 200:
        raise UnsupportedMediaType(
            "A file comes as a form: Content-Type: multipart/form-data with the parts file and purpose, as "
            "curl -F file=@data.jsonl -F purpose=fine-tune sends it.",
            code="unsupported_media_type",
        )
    return boundary


async def read_form(content_type: str, stream: AsyncIterator[bytes], sink: Sink, max_bytes: int) -> Form:
    """The part `file` goes into the sink. max_bytes: of it. Raises UnsupportedMediaType, InvalidRequest, RefusedEarly
    for a file that is too large, and what the sink raises."""
    parser: Any = PushMultipartParser(boundary_of(content_type), max_segment_count=MAX_PARTS)
    form = Form()
    reader = _Reader(form, sink, max_bytes)
    try:
        async for chunk in stream:
            if chunk:
                for event in parser.parse(chunk):
                    await reader.take(event)
        parser.close()
    except (MultipartError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The form can't be read: {error}.", code="invalid_form") from None
    return form


class _Reader:
    """What the parser finds, one thing after the other."""

    def __init__(self, form: Form, sink: Sink, max_bytes: int) -> None:
        self._form = form
        self._sink = sink
        self._max_bytes = max_bytes
        self._name = ""
        self._value = bytearray()

    async def take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        """A part's head, some of its content, or None at its end."""
        if event is None:
            if self._name != "file":
                self._form.fields[self._name] = self._value.decode()
        elif isinstance(event, bytes | bytearray):
            await self._add(event)
        else:
            self._begin(event)

    def _begin(self, part: MultipartSegment) -> None:
        self._name, self._value = part.name or "", bytearray()
        if self._name == "file":
            if self._form.filename is not None:
                raise InvalidRequest("There is more than one part file; send one file at a time.", param="file")
            self._form.filename = clean_filename(part.filename)
        elif self._name in self._form.fields:
            raise InvalidRequest(f"{self._name[:100]} is there more than once.", param=self._name[:100])

    async def _add(self, data: bytes | bytearray) -> None:
        if self._name == "file":
            if self._sink.num_bytes + len(data) > self._max_bytes:
                raise too_large(self._max_bytes)
            await self._sink.write(data)
            return
        self._value += data
        if len(self._value) > MAX_FIELD_BYTES:
            name = self._name[:100]
            raise InvalidRequest(f"{name} is longer than {MAX_FIELD_BYTES} bytes.", param=name)


def clean_filename(sent: str | None) -> str:
    """The name alone, whatever folders a client puts before it. Raises InvalidRequest."""
    name = (sent or "").replace("\\", "/").rpartition("/")[2]
    if not name or name in (".", ".."):
        raise InvalidRequest("The part file has no filename; send one, such as data.jsonl.", param="file")
    if len(name) > MAX_FILENAME_LENGTH or not name.isprintable():
        raise InvalidRequest(
            f"The filename has more than {MAX_FILENAME_LENGTH} characters, or some that can't be printed.", param="file"
        )
    return name


def too_large(max_bytes: int) -> RefusedEarly:
    return RefusedEarly(
        f"The file has more than {max_bytes} bytes (setting storage.max_file_bytes); send it in several files.",
        status=413,
        code="file_too_large",
        headers={"Connection": "close"},
    )
