"""Who is asked for a key, and who is let in."""

from __future__ import annotations

import pytest

from llmos_server.access.gate import Gate
from llmos_server.access.job_badges import JobBadges
from llmos_server.access.keys import create_key
from llmos_server.errors import Unauthorized
from llmos_server.key_contracts import NOBODY

TOKEN = "llmos-admin-" + "t" * 43


@pytest.fixture
def keys(fakes):
    return fakes.MemoryKeys()


async def test_an_open_server_takes_anybody(keys) -> None:
    gate = Gate(keys)
    for presented in ([], [""], ["none"], ["sk-xxx"], ["sk-1234567890"]):
        assert await gate.identify(presented, is_local=False) == NOBODY


async def test_the_first_key_closes_it_and_its_revocation_does_not_open_it(keys) -> None:
    gate = Gate(keys)
    assert await gate.identify([], is_local=True) == NOBODY
    text = keys.add()
    [key_id] = keys.stored
    assert (await gate.identify([text], is_local=False)).key_id == key_id
    keys.revoke(key_id)
    for presented in ([], ["none"], [text]):
        with pytest.raises(Unauthorized):
            await gate.identify(presented, is_local=True)


async def test_a_host_that_others_reach_always_asks(keys) -> None:
    with pytest.raises(Unauthorized, match="llmos keys create"):
        await Gate(keys, always_asks=True).identify([], is_local=True)


async def test_what_looks_like_ours_must_be_ours_on_an_open_server_too(keys) -> None:
    gate = Gate(keys, admin_token=TOKEN)
    for text in (create_key().text, "sk-llmos-", "sk-llmos-" + "x" * 10_000, "llmos-admin-x", TOKEN + "x"):
        with pytest.raises(Unauthorized, match="revoked"):
            await gate.identify([text], is_local=True)


async def test_the_admin_token_counts_on_this_machine_only(keys) -> None:
    gate = Gate(keys, admin_token=TOKEN, always_asks=True)
    assert (await gate.identify([TOKEN], is_local=True)).is_admin
    with pytest.raises(Unauthorized):
        await gate.identify([TOKEN], is_local=False)
    with pytest.raises(Unauthorized):
        await Gate(keys).identify([TOKEN], is_local=True)


async def test_a_key_beside_a_placeholder_is_found(keys) -> None:
    text = keys.add()
    assert (await Gate(keys).identify(["none", text], is_local=False)).key_id in text


async def test_every_use_looks_the_key_up_and_is_told(keys) -> None:
    used: list[str] = []
    gate = Gate(keys, on_use=used.append)
    text = keys.add()
    for _ in range(3):
        await gate.identify([text], is_local=False)
    assert keys.num_lookups == 3
    assert used == [*keys.stored] * 3
    [key_id] = keys.stored
    keys.revoke(key_id)
    with pytest.raises(Unauthorized):
        await gate.identify([text], is_local=False)
    assert len(used) == 3


async def test_a_job_is_let_in_for_its_owner_as_long_as_it_runs(keys) -> None:
    badges = JobBadges()
    gate = Gate(keys, badges=badges)
    keys.add(is_admin=True, max_in_flight=3)
    [key_id] = keys.stored
    badge, nobodys = badges.issue(key_id), badges.issue("")
    principal = await gate.identify([badge], is_local=True)
    assert (principal.key_id, principal.is_job, principal.is_admin, principal.max_in_flight) == (key_id, True, False, 3)
    assert (await gate.identify([nobodys], is_local=True)).is_job
    with pytest.raises(Unauthorized):
        await gate.identify([badge], is_local=False)
    keys.revoke(key_id)
    with pytest.raises(Unauthorized, match="was revoked"):
        await gate.identify([badge], is_local=True)
    badges.withdraw(nobodys)
    with pytest.raises(Unauthorized):
        await gate.identify([nobodys], is_local=True)
