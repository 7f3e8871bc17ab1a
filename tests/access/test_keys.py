"""Keys: their form, their hash, who they stand for."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.access.keys import create_key, hash_secret, is_valid, split_key, to_principal
from llmos_server.key_contracts import StoredKey


def stored(secret_hash: str, **fields) -> StoredKey:
    return StoredKey(id="abcdefgh", name="laptop", secret_hash=secret_hash, created=1, **fields)


def test_a_key_has_an_id_and_256_random_bits() -> None:
    made = [create_key() for _ in range(50)]
    assert all(re.fullmatch(r"sk-llmos-[a-z2-9]{8}-[A-Za-z0-9_-]{43}", key.text) for key in made)
    assert len({key.text for key in made}) == len({key.id for key in made}) == 50


def test_what_is_stored_does_not_hold_the_secret() -> None:
    key = create_key()
    key_id, secret = split_key(key.text)
    assert key_id == key.id
    assert key.secret_hash == hash_secret(secret)
    assert secret.encode() not in msgspec.json.encode(stored(key.secret_hash))


def test_only_the_right_secret_of_a_living_key_is_valid() -> None:
    key, other = create_key(), create_key()
    _, secret = split_key(key.text)
    assert is_valid(stored(key.secret_hash), secret)
    assert not is_valid(stored(other.secret_hash), secret)
    assert not is_valid(stored(key.secret_hash, revoked=5), secret)
    assert not is_valid(None, secret)


@given(st.text(max_size=80))
def test_other_texts_are_no_keys(text: str) -> None:
    assert split_key(text) is None


@pytest.mark.parametrize("change", [lambda k: k + "\n", lambda k: k[:-1], lambda k: k.upper(), lambda k: " " + k])
def test_almost_keys_are_no_keys(change) -> None:
    assert split_key(change(create_key().text)) is None


def test_a_principal_has_the_limits_of_its_key() -> None:
    principal = to_principal(
        stored(
            "",
            is_admin=True,
            models=("tiny",),
            skills=("code",),
            tools=("clock",),
            max_in_flight=2,
            tokens_per_minute=100,
        )
    )
    assert (principal.key_id, principal.name, principal.is_admin) == ("abcdefgh", "laptop", True)
    assert (principal.skills, principal.tools) == (("code",), ("clock",))
    assert (principal.models, principal.max_in_flight, principal.tokens_per_minute) == (("tiny",), 2, 100)
