"""A JSON object a line, and what all answers of Ollama's API have in common."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from llmos_server.api.errors import WireError
from llmos_server.api.generation.starting import StreamForm
from llmos_server.api.http.event_stream import encode

MEDIA_TYPE = "application/x-ndjson"


def line(value: Any) -> bytes:
    return encode(value) + b"\n"


def error_body(wire: WireError, _: str = "") -> bytes:
    """An ErrorForm."""
    return encode({"error": wire.bounded_message})


FORM = StreamForm(done=b"", error=lambda wire: error_body(wire) + b"\n", media_type=MEDIA_TYPE, has_comments=False)


def timestamp(seconds: float | None = None) -> str:
    """RFC 3339 in UTC; of now, in nanoseconds, when absent."""
    nanoseconds = time.time_ns() if seconds is None else int(seconds * 1e9)
    whole, rest = divmod(nanoseconds, 10**9)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def to_nanoseconds(seconds: float) -> int:
    """At least 1: clients divide by it."""
    return max(int(seconds * 1e9), 1)
