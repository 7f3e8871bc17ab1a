"""Who is it? From what a request presents to a Principal. No HTTP and no SQL in here."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from llmos_server.access import admin_token, job_badges, keys
from llmos_server.access.job_badges import JobBadges
from llmos_server.errors import Unauthorized
from llmos_server.key_contracts import NOBODY, Principal, StoredKey

MAX_PRESENTED_LENGTH = 200
"""Longer strings are nobody's key."""


class KeyStore(Protocol):
    """Where keys are found. Every look-up sees what other processes have committed."""

    async def get(self, key_id: str) -> StoredKey | None: ...

    async def any_was_made(self) -> bool:
        """Whether there ever was a key; revoked ones count, so that revoking the last doesn't open the server."""
        ...


class Gate:
    """keys: None is a server without a database. always_asks: also before the first key exists.

    A key is looked up for every request, never remembered: one that was revoked, by whichever process, is refused by
    the next request. Only "there are keys" is remembered, because that stays true.
    """

    def __init__(
        self,
        keys: KeyStore | None = None,
        *,
        admin_token: str | None = None,
        badges: JobBadges | None = None,
        always_asks: bool = False,
        on_use: Callable[[str], None] | None = None,
    ) -> None:
        """badges: of the jobs that this server runs. on_use: called with the id of each key that was accepted."""
        self._keys = keys
        self._badges = badges
        self._admin_token = admin_token
        self._asks = always_asks
        self._on_use = on_use

    async def identify(self, presented: Sequence[str], *, is_local: bool) -> Principal:
        """presented: what the request carries where keys are carried. is_local: it comes from this machine.

        What looks like a key of ours must be one, also where none is asked for: its owner believes to be somebody.
        Other strings are what clients send when they were told that any key will do. Raises Unauthorized.
        """
        for text in presented:
            if text.startswith((keys.PREFIX, admin_token.PREFIX, job_badges.PREFIX)):
                return await self._identify_ours(text, is_local)
        if await self.asks_for_keys():
            what = "doesn't know this key" if any(presented) else "asks for a key"
            raise Unauthorized(
                f"This server {what}. Send one as 'Authorization: Bearer {keys.PREFIX}...'; "
                "its operator makes keys with: llmos keys create NAME"
            )
        return NOBODY

    async def asks_for_keys(self) -> bool:
        if not self._asks and self._keys is not None:
            self._asks = await self._keys.any_was_made()
        return self._asks

    async def _identify_ours(self, text: str, is_local: bool) -> Principal:
        if self._admin_token is not None and is_local and _equal(text, self._admin_token):
            return Principal(name="admin.token", is_admin=True)
        if self._badges is not None and is_local and (owner := self._badges.owner_of(text)) is not None:
            return await self._of_job(owner)
        parts = keys.split_key(text) if len(text) <= MAX_PRESENTED_LENGTH else None
        if parts is not None and self._keys is not None:
            key_id, secret = parts
            stored = await self._keys.get(key_id)
            if stored is not None and keys.is_valid(stored, secret):
                if self._on_use is not None:
                    self._on_use(key_id)
                return keys.to_principal(stored)
        raise Unauthorized("This key isn't known here, or was revoked. Ask the server's operator for another.")

    async def _of_job(self, owner: str) -> Principal:
        """May what its owner's key may just then, but administer. Raises Unauthorized when that was revoked."""
        if not owner:
            return Principal(name="job", is_job=True)
        stored = await self._keys.get(owner) if self._keys is not None else None
        if stored is None or stored.revoked is not None:
            raise Unauthorized("The key that this job belongs to was revoked.")
        return msgspec.structs.replace(keys.to_principal(stored), is_admin=False, is_job=True)


def _equal(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode("utf-8", "surrogateescape"), right.encode())
