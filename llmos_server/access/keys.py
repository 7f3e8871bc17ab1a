"""What a key looks like, and how it is checked without being stored.

sk-llmos-<8 characters: its id>-<43 characters: 256 random bits>. A password needs a slow hash because people choose it;
a secret of 256 random bits can't be guessed, whatever the hash costs, so that a fast one is right: it is computed for
every request.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

from llmos_server.contracts import Principal, StoredKey

PREFIX = "sk-llmos-"
ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without those that are taken for another."""
ID_LENGTH = 8

_FORM = re.compile(rf"{PREFIX}([{ID_LETTERS}]{{{ID_LENGTH}}})-([A-Za-z0-9_-]{{43}})")


class NewKey(NamedTuple):
    id: str
    text: str
    """What its owner sends; shown once."""
    secret_hash: str


def create_key() -> NewKey:
    key_id = "".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH))
    secret = secrets.token_urlsafe(32)
    return NewKey(key_id, f"{PREFIX}{key_id}-{secret}", hash_secret(secret))


def split_key(text: str) -> tuple[str, str] | None:
    """(id, secret); None for what can't be one of our keys."""
    match = _FORM.fullmatch(text)
    return None if match is None else (match[1], match[2])


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def is_valid(stored: StoredKey | None, secret: str) -> bool:
    """Known, not revoked, and the right secret."""
    if stored is None or stored.revoked is not None:
        return False
    return hmac.compare_digest(stored.secret_hash, hash_secret(secret))


def to_principal(stored: StoredKey) -> Principal:
    return Principal(
        key_id=stored.id,
        name=stored.name,
        is_admin=stored.is_admin,
        models=stored.models,
        max_in_flight=stored.max_in_flight,
        tokens_per_minute=stored.tokens_per_minute,
    )
