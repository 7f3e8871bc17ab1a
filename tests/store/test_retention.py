"""Old usage goes, a few rows at a time, and the ledger says so."""

from __future__ import annotations

import structlog
from rows import usage

from llmos_server.store.ledger import Ledger
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.retention import BATCH_ROWS, SECONDS_BETWEEN, Retention
from llmos_server.store.store import Store
from llmos_server.store.usage import DAY_MILLISECONDS

NOW = 1_800_000_000.0


def days_ago(days: float, **fields):
    return usage(created=int(NOW * 1000 - days * DAY_MILLISECONDS), **fields)


async def count(store: Store) -> int:
    return (await store.usage.totals(EVERYBODY))[0].requests


async def test_the_oldest_rows_go_in_batches(store: Store) -> None:
    rows = [days_ago(40 + n % 7, owner="ab"[n % 2]) for n in range(BATCH_ROWS + 20)]
    await store.usage.write(rows)
    await store.usage.write([days_ago(29.9), days_ago(0)])
    assert await store.removals.removed_before() == 0
    retention = Retention(store.removals.remove_before, 30, clock=lambda: NOW)
    await retention.take_turn()
    assert await count(store) == 22
    oldest_left = max(row.created for row in rows)
    assert [t.requests for t in await store.usage.totals(EVERYBODY, since=oldest_left + 1)] == [2]
    for _ in range(3):
        await retention.take_turn()
        assert await count(store) == 2
    assert await store.removals.removed_before() == int(NOW * 1000) - 30 * DAY_MILLISECONDS


async def test_once_a_day(store: Store) -> None:
    now = NOW
    retention = Retention(store.removals.remove_before, 30, clock=lambda: now)
    await retention.take_turn()
    await store.usage.write([days_ago(31)])
    now += SECONDS_BETWEEN - 1
    await retention.take_turn()
    assert await count(store) == 1
    now += 1
    with structlog.testing.capture_logs() as logged:
        await retention.take_turn()
        await retention.take_turn()
    assert await count(store) == 0
    assert [(line["what"], line["rows"], line["days"]) for line in logged] == [("usage", 1, 30)]


async def test_zero_days_keep_all(store: Store) -> None:
    await store.usage.write([days_ago(4000)])
    await Retention(store.removals.remove_before, 0, clock=lambda: NOW).take_turn()
    assert await count(store) == 1


async def test_the_ledger_writes_before_it_removes(store: Store) -> None:
    retention = Retention(store.removals.remove_before, 30, clock=lambda: NOW)
    ledger = Ledger(store.usage.write, store.keys.touch, tidy=retention.take_turn)
    for row in (days_ago(50), days_ago(1)):
        ledger.book(row)
    assert await ledger.flush()
    assert (ledger.num_written, await count(store)) == (2, 1)
