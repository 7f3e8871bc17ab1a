"""Wire structs of /admin/v1/logs."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from llmos_server.logbook.lines import LogLine


class LogList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[LogLine]
    before: str | None
    """For the next, older page; null when there is nothing before these."""
    end: str
    """For a stream of what comes after them."""


class LogGap(Struct, kw_only=True):
    reason: str
