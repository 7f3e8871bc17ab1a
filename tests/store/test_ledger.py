"""The ledger: what was booked is written once, whatever the database does meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from migrated import migrate
from rows import key, usage

from llmos_server.errors import StoreUnavailable
from llmos_server.key_contracts import UsageRow
from llmos_server.store import database as database_module
from llmos_server.store import ledger as module
from llmos_server.store.database import Database
from llmos_server.store.ledger import Ledger
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.store import Store


class Table:
    """A usage table that refuses when told to; sometimes it has written all the same, as when an answer is lost."""

    def __init__(self) -> None:
        self.rows: dict[str, UsageRow] = {}
        self.touched: dict[str, int] = {}
        self.outcome = "works"

    async def write(self, rows: Sequence[UsageRow]) -> None:
        if self.outcome == "refuses":
            raise StoreUnavailable("away")
        if any(row.request_id == "poison" for row in rows):
            raise UnicodeEncodeError("utf-8", "x", 0, 1, "surrogates not allowed")
        for row in rows:
            self.rows.setdefault(row.id, row)
        if self.outcome == "writes and fails":
            raise StoreUnavailable("the connection broke")

    async def touch(self, uses: dict[str, int]) -> None:
        if self.outcome != "works":
            raise StoreUnavailable("away")
        self.touched.update(uses)


STEPS = st.lists(
    st.one_of(
        st.sampled_from([1, 2, 30, 499, 501]).map(lambda n: ("book", n)),
        st.just(("poison", 0)),
        st.sampled_from(["works", "refuses", "writes and fails"]).map(lambda outcome: ("outcome", outcome)),
        st.just(("flush", 0)),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, max_rows=st.integers(1, 1500))
async def test_nothing_is_lost_without_being_counted_and_nothing_is_there_twice(steps, max_rows: int) -> None:
    table = Table()
    ledger = Ledger(table.write, table.touch, max_rows=max_rows)
    booked: list[UsageRow] = []
    for step, value in steps:
        if step == "book":
            booked += (new := [usage(request_id=f"r{len(booked) + i}") for i in range(value)])
            for row in new:
                ledger.book(row)
        elif step == "poison":
            booked.append(row := usage(request_id="poison"))
            ledger.book(row)
        elif step == "outcome":
            table.outcome = value
        else:
            await ledger.flush()
        assert ledger.num_pending <= max_rows
        assert ledger.num_pending + ledger.num_written + ledger.num_dropped == len(booked)
        assert len(table.rows) >= ledger.num_written
    table.outcome = "works"
    assert await ledger.flush()
    assert ledger.num_pending == 0
    assert len(table.rows) == ledger.num_written == len(booked) - ledger.num_dropped
    assert set(table.rows) <= {row.id for row in booked}
    if len(booked) <= max_rows:
        assert [row for row in booked if row.request_id != "poison"] == list(table.rows.values())


async def test_rows_reach_the_table_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.01)
    table = Table()
    ledger = Ledger(table.write, table.touch)
    await ledger.start()
    table.outcome = "refuses"
    ledger.book(usage())
    while not ledger.is_failing:
        await asyncio.sleep(0.001)
    table.outcome = "works"
    while ledger.num_pending:
        await asyncio.sleep(0.001)
    await ledger.stop()
    assert len(table.rows) == 1


async def test_the_end_of_the_server_writes_what_waits() -> None:
    table = Table()
    ledger = Ledger(table.write, table.touch)
    await ledger.start()
    for _ in range(1234):
        ledger.book(usage())
    await ledger.stop()
    assert len(table.rows) == 1234


async def test_last_use_is_written_at_most_once_a_minute() -> None:
    table = Table()
    ledger = Ledger(table.write, table.touch)
    for _ in range(3):
        ledger.note_use("abcdefgh")
    await ledger.flush()
    [first] = table.touched.values()
    table.touched.clear()
    ledger.note_use("abcdefgh")
    await ledger.flush()
    assert table.touched == {}
    ledger._touched["abcdefgh"] = first - module.TOUCH_SECONDS
    await ledger.flush()
    assert list(table.touched) == ["abcdefgh"]


async def test_a_database_that_another_process_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_MILLISECONDS", 20)
    store = Store(Database(tmp_path))
    await migrate(store.database)
    await store.keys.add(key())
    ledger = Ledger(store.usage.write, store.keys.touch)
    other = sqlite3.connect(tmp_path / "llmos.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ledger.book(usage())
    ledger.note_use("abcdefgh")
    assert not await ledger.flush()
    assert ledger.num_pending == 1
    other.execute("ROLLBACK")
    other.close()
    assert await ledger.flush()
    assert [total.requests for total in await store.usage.totals(EVERYBODY)] == [1]
    assert (await store.keys.get("abcdefgh")).last_used is not None
    await store.close()


async def test_a_database_that_stays_away_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table()
    table.outcome = "refuses"
    ledger = Ledger(table.write, table.touch, max_rows=10)
    ledger.book(usage())
    for seconds, lines in ((60.0, 1), (0.0, 3)):
        monkeypatch.setattr(module, "TELL_SECONDS", seconds)
        with structlog.testing.capture_logs() as logged:
            for _ in range(3):
                assert not await ledger.flush()
        assert [(line["rows"], line["room_for"]) for line in logged] == [(1, 9)] * lines
    assert ledger.is_failing


async def test_a_full_disk(tmp_path: Path) -> None:
    """SQLite's own limit on pages gives the error of a full disk."""
    store = Store(Database(tmp_path))
    await migrate(store.database)
    async with store.database.read() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}")
    ledger = Ledger(store.usage.write, store.keys.touch)
    for _ in range(300):
        ledger.book(usage())
    assert not await ledger.flush()
    assert ledger.num_pending == 300
    assert [total.requests for total in await store.usage.totals(EVERYBODY)] == [0]
    async with store.database.read() as connection:
        await connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert await ledger.flush()
    assert [total.requests for total in await store.usage.totals(EVERYBODY)] == [300]
    await store.close()
