"""What stored responses and conversations share: ids, JSON as text, and how large they may be."""

from __future__ import annotations

import time
import uuid
from typing import Any

import msgspec

from llmos_server.errors import InvalidRequest
from llmos_server.store.state_tables import MAX_ID_LENGTH


def new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"


def can_be_id(text: str) -> bool:
    """Whether an object may be called so: what can't is nowhere stored, and no database is asked for it."""
    return 0 < len(text) <= MAX_ID_LENGTH and text.isprintable()


def now_milliseconds() -> int:
    return time.time_ns() // 1_000_000


def to_text(value: Any) -> str:
    """JSON."""
    return msgspec.json.encode(value).decode()


def from_text(text: str) -> Any:
    return msgspec.json.decode(text)


def num_bytes(text: str) -> int:
    return len(text.encode())


def check_size(what: str, size: int, limit: int, *, param: str, remedy: str) -> None:
    """Raises InvalidRequest. size, limit: bytes of JSON."""
    if size > limit:
        raise InvalidRequest(
            f"{what} has {size} bytes as JSON, and the setting storage.max_object_bytes allows {limit}. {remedy}",
            param=param,
            code="object_too_large",
        )
