"""Since when? "7d", "24h", "30m", or a day."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from llmos_server.errors import InvalidRequest

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_FORM = re.compile(r"(\d{1,6})([mhdw])")


def parse_since(text: str | None, now: float, *, param: str = "since") -> int:
    """Unix milliseconds; 0 without a text. Raises InvalidRequest that names `param`."""
    if not text:
        return 0
    if match := _FORM.fullmatch(text):
        return max(0, int((now - int(match[1]) * _UNITS[match[2]]) * 1000))
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidRequest(
            f"{param} is {text[:40]!r}; it looks like 30m, 24h, 7d, 4w or 2026-11-24 (UTC).", param=param
        ) from None
    return max(0, int(day.timestamp() * 1000))
