"""Keys without a database."""

from __future__ import annotations

from typing import Any

import msgspec

from llmos_server.access.keys import create_key
from llmos_server.key_contracts import StoredKey


class MemoryKeys:
    """A key store without a database."""

    def __init__(self) -> None:
        self.stored: dict[str, StoredKey] = {}
        self.num_lookups = 0

    def add(self, **fields: Any) -> str:
        """What the key's owner sends."""
        key = create_key()
        self.stored[key.id] = StoredKey(id=key.id, name="n", secret_hash=key.secret_hash, created=1, **fields)
        return key.text

    def revoke(self, key_id: str) -> None:
        self.stored[key_id] = msgspec.structs.replace(self.stored[key_id], revoked=2)

    async def get(self, key_id: str) -> StoredKey | None:
        self.num_lookups += 1
        return self.stored.get(key_id)

    async def any_was_made(self) -> bool:
        return bool(self.stored)
