"""One line of the log, as it is read back, and which lines somebody wants."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

from llmos_server.errors import InvalidRequest

Level = Literal["debug", "info", "warning", "error", "critical"]

LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error", "critical")
MAX_LINE = 2**20
"""Bytes; a longer line is named, and not read."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    time: float | None
    """Unix seconds; None for a line that isn't one of the server's."""
    level: str
    event: str
    fields: dict[str, Any]
    cursor: str
    """The place before it."""


class LogFilter(msgspec.Struct, frozen=True, kw_only=True):
    level: Level | None = None
    """The least."""
    contains: str = ""
    """Anywhere in the line, as JSON has it; a to z and A to Z are alike."""

    def read(self, raw: bytes | None, cursor: str) -> LogLine | None:
        """A line that is wanted. raw: without its end; None for one that is too long."""
        if raw is None:
            return None if self.level or self.contains else _plain(f"(a line of more than {MAX_LINE} bytes)", cursor)
        if self.contains and json.dumps(self.contains)[1:-1].lower().encode() not in raw.lower():
            return None
        line = read_line(raw, cursor)
        if self.level and (line.level not in LEVELS or LEVELS.index(line.level) < LEVELS.index(self.level)):
            return None
        return line


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    lines: list[LogLine]
    """The newest last."""
    before: str | None
    """Where the next, older page ends; None when the beginning was reached."""
    end: str
    """The end of the log when it was read."""


class NewLines(msgspec.Struct, frozen=True, kw_only=True):
    lines: list[LogLine]
    cursor: str
    """Where to go on."""
    is_gap: bool = False
    """Lines before these were skipped: the reader was too slow, or they are gone."""


class LogBook(Protocol):
    """Where the log can be read back. Each call does a bounded amount of work, and blocks for it."""

    def page(self, wanted: LogFilter, before: str | None, limit: int) -> LogPage:
        """The last `limit` lines that are wanted, before a place or the end. There may be fewer, and more before them:
        a page looks through so much of the log only. Raises InvalidRequest."""
        ...

    def since(self, wanted: LogFilter, cursor: str) -> NewLines:
        """What came after a place, a part at a time. Raises InvalidRequest."""
        ...


def read_line(raw: bytes, cursor: str) -> LogLine:
    try:
        found = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _plain(raw.decode(errors="replace"), cursor)
    return LogLine(
        time=_read_time(found.pop("timestamp", None)),
        level=str(found.pop("level", "")),
        event=str(found.pop("event", "")),
        fields=found,
        cursor=cursor,
    )


def split_cursor(cursor: str) -> tuple[str, int]:
    """The log's name and the place in it. Raises InvalidRequest."""
    name, _, place = cursor.rpartition("-")
    if not (0 < len(name) <= 64 and place.isascii() and place.isdigit() and len(place) <= 18):
        raise InvalidRequest("A cursor is one that this server told with a line or a page.", param="cursor")
    return name, int(place)


def _plain(text: str, cursor: str) -> LogLine:
    return LogLine(time=None, level="", event=text, fields={}, cursor=cursor)


def _read_time(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return None
