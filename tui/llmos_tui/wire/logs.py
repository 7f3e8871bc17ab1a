"""The server's log: /admin/v1/logs."""

from __future__ import annotations

from typing import Any

from llmos_tui.wire.common import Wire


class LogLine(Wire, frozen=True, kw_only=True):
    """time: Unix seconds, None for a line that isn't one of the server's. cursor: the place before it."""

    time: float | None = None
    level: str = ""
    event: str = ""
    fields: dict[str, Any] = {}
    cursor: str = ""


class LogPage(Wire, frozen=True, kw_only=True):
    """The newest last. before: where an older page ends, None at the log's beginning. end: where a stream goes on."""

    data: list[LogLine] = []
    before: str | None = None
    end: str = ""


class LogGap(Wire, frozen=True, kw_only=True):
    """Lines were skipped here."""

    reason: str = ""
