"""Who asks, by which key, and what was used: frozen nouns that cross folders. As contracts.py, without torch."""

from __future__ import annotations

import time
import uuid
from typing import Literal, Protocol

import msgspec

BACKGROUND = "~"
"""Before an owner of GenerateRequest and the like: what the owner's jobs ask, behind what all others ask."""


def is_background(owner: str) -> bool:
    return owner.startswith(BACKGROUND)


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who sent a request, and what that key may do. None means without a limit."""

    key_id: str = ""
    """ "" is somebody without a key, on a server that asks for none. Also the owner of all that is stored for it."""
    name: str = ""
    is_admin: bool = False
    is_job: bool = False
    """A job asks for its owner: behind what clients ask."""
    models: tuple[str, ...] | None = None
    skills: tuple[str, ...] | None = None
    tools: tuple[str, ...] | None = None
    """Those that the server itself runs; a client's own function tools are its own affair."""
    max_in_flight: int | None = None
    tokens_per_minute: int | None = None

    @property
    def engine_owner(self) -> str:
        """Whose turn its requests take in an engine."""
        return f"{BACKGROUND}{self.key_id}" if self.is_job else self.key_id


NOBODY = Principal()


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as the database has it: never its secret. Times are Unix seconds."""

    id: str
    name: str
    secret_hash: str
    """sha256 of the secret, 64 hex digits."""
    is_admin: bool = False
    models: tuple[str, ...] | None = None
    """None: all of them; so, too, for skills and tools."""
    skills: tuple[str, ...] | None = None
    tools: tuple[str, ...] | None = None
    max_in_flight: int | None = None
    tokens_per_minute: int | None = None
    created: int
    revoked: int | None = None
    last_used: int | None = None
    """Not finer than a minute."""


UsageStatus = Literal["stop", "length", "abort", "error"]
"""abort: the client left, or the request was ended from outside. error: the engine failed."""


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one request that reached an engine has cost, however it ended."""

    id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    request_id: str
    """The X-Request-Id of its answer."""
    owner: str
    """The key's id; "" is nobody's."""
    model: str
    endpoint: str
    prompt_tokens: int
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float
    """From its arrival to its end."""
    queue_seconds: float | None = None
    """In the engine, before its first step; None when it never had one."""
    status: UsageStatus
    created: int = msgspec.field(default_factory=lambda: time.time_ns() // 1_000_000)
    """Unix milliseconds."""


class UsageTotal(msgspec.Struct, frozen=True, kw_only=True):
    """The sums over a group of rows."""

    group: str
    """A key's id, a model's name or a day (UTC); "" when there is one group."""
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float


class UsageBook(Protocol):
    """Where requests are booked."""

    @property
    def num_pending(self) -> int:
        """Booked, and not yet in the database."""
        ...

    @property
    def num_written(self) -> int: ...

    @property
    def num_dropped(self) -> int:
        """Lost, because the database was away for too long."""
        ...

    @property
    def is_failing(self) -> bool:
        """The database refused the last write; rows wait."""
        ...

    def book(self, row: UsageRow) -> None:
        """Never fails and never waits."""
        ...
