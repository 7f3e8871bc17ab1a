"""The server's log as the fake server tells it."""

from __future__ import annotations

from typing import Any

import tui_data

from llmos_server.api.schemas.admin_logs import LogGap, LogList
from llmos_server.logbook.lines import LogLine

EVENTS = (
    ("info", "request", {"method": "POST", "path": "/v1/chat/completions", "status": 200, "seconds": 1.25}),
    ("info", "model loaded", {"model": "smollm2:135m", "seconds": 1.9}),
    ("warning", "queue is long", {"model": "smollm2:135m", "num_waiting": 41}),
    ("error", "worker died", {"model": "smollm2:135m", "exit": -9, "detail": "killed by the system"}),
    ("debug", "step", {"num_running": 6}),
)


def line(number: int, **changes: Any) -> LogLine:
    level, event, fields = EVENTS[number % len(EVENTS)]
    facts = {"time": tui_data.NOW + number, "level": level, "event": event, "cursor": f"log-{number}"}
    return LogLine(**{**facts, "fields": {**fields, "n": number}, **changes})


def page(first: int, count: int, before: str | None = None) -> LogList:
    return LogList(data=[line(n) for n in range(first, first + count)], before=before, end=f"log-{first + count}")


def gap() -> LogGap:
    return LogGap(reason="Lines were skipped here.")
