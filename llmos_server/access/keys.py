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
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from llmos_server.errors import InvalidRequest
from llmos_server.key_contracts import Principal, StoredKey

PREFIX = "sk-llmos-"
ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without those that are taken for another."""
ID_LENGTH = 8
MAX_NAME_LENGTH = 64
MAX_LISTED_LENGTH = 512
"""Of a name in a key's list of models, skills or tools."""
WHERE_LISTED = {"models": "/v1/models", "skills": "llmos skills list", "tools": "llmos plugins list"}

_IN_A_TEXT = re.compile(rf"({PREFIX}[{ID_LETTERS}]{{{ID_LENGTH}}}-)[A-Za-z0-9_-]+")
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


def id_of(text: str) -> str:
    """Of a whole key; any other text, an id or a name, as it is."""
    parts = split_key(text.strip())
    return text if parts is None else parts[0]


def hide_secrets(text: str) -> str:
    """Keys in it end after their id."""
    return _IN_A_TEXT.sub(r"\1...", text)


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
        skills=stored.skills,
        tools=stored.tools,
        max_in_flight=stored.max_in_flight,
        tokens_per_minute=stored.tokens_per_minute,
    )


def make_key(
    name: str,
    now: int,
    *,
    is_admin: bool = False,
    models: Sequence[str] | None = None,
    skills: Sequence[str] | None = None,
    tools: Sequence[str] | None = None,
    max_in_flight: int | None = None,
    tokens_per_minute: int | None = None,
) -> tuple[StoredKey, str]:
    """What is stored, and what its owner is told once. Raises InvalidRequest."""
    new = create_key()
    stored = StoredKey(
        id=new.id,
        name=name,
        secret_hash=new.secret_hash,
        is_admin=is_admin,
        models=tuple(models) if models else None,
        skills=tuple(skills) if skills else None,
        tools=tuple(tools) if tools else None,
        max_in_flight=max_in_flight,
        tokens_per_minute=tokens_per_minute,
        created=now,
    )
    check_key(stored)
    return stored, new.text


def change_key(stored: StoredKey, changes: Mapping[str, Any]) -> StoredKey:
    """changes: fields of a StoredKey; None removes a limit. Raises InvalidRequest."""
    for param in WHERE_LISTED:
        if changes.get(param, None) == ():
            raise InvalidRequest(
                f"{param} would allow none. Name some, send null for all of them, or revoke the key.", param=param
            )
    changed: StoredKey = msgspec.structs.replace(stored, **changes)
    check_key(changed)
    return changed


def check_key(key: StoredKey) -> None:
    """Raises InvalidRequest that names the field."""
    if not 1 <= len(key.name) <= MAX_NAME_LENGTH or not key.name.isprintable() or key.name != key.name.strip():
        raise InvalidRequest(
            f"A key's name has 1 to {MAX_NAME_LENGTH} printable characters, without spaces around it.", param="name"
        )
    for param, value in (("max_in_flight", key.max_in_flight), ("tokens_per_minute", key.tokens_per_minute)):
        if value is not None and not 1 <= value < 2**31:
            raise InvalidRequest(f"{param} is at least 1 and below 2**31; without it there is no limit.", param=param)
    for param, names in (("models", key.models), ("skills", key.skills), ("tools", key.tools)):
        if names is not None and not all(map(_is_name, names)):
            raise InvalidRequest(f"{param} holds names of {param}, as {WHERE_LISTED[param]} shows them.", param=param)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_LISTED_LENGTH and text.isprintable()
