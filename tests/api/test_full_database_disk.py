"""The disk of the database fills while requests come: all are answered, and what they used is written later."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
import pytest
import structlog

from llmos_server.access.gate import Gate
from llmos_server.api.app import create_api
from llmos_server.api.served import ModelDirectory, ServedModel
from llmos_server.key_contracts import UsageRow
from llmos_server.settings import ApiSettings
from llmos_server.store import ledger as module
from llmos_server.store.database import Database
from llmos_server.store.ledger import Ledger
from llmos_server.store.migrate import migrate
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.store import Store

TOKEN = "llmos-admin-" + "t" * 43
BATCH = 400


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(module, "MAX_RETRY_SECONDS", 0.02)


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_disk_that_fills(small_disk: Path, fill, fakes, quick) -> None:
    store = Store(Database(small_disk / "home"))
    await migrate(store.database)
    ledger = Ledger(store.usage.write, store.keys.touch)
    served = ServedModel(id="tiny", created=1, renderer=fakes.ByteRenderer(), engine=fakes.ScriptedGenerator("Hello"))
    gate = Gate(store.keys, admin_token=TOKEN, on_use=ledger.note_use)
    app = create_api(ModelDirectory([served]), ApiSettings(), gate=gate, store=store, usage=ledger)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        made = await http.post("/admin/v1/keys", json={"name": "a"}, headers={"Authorization": f"Bearer {TOKEN}"})
        http.headers["Authorization"] = f"Bearer {made.json()['key']}"
        num_booked = 0

        async def ask() -> None:
            nonlocal num_booked
            reply = await http.post("/v1/completions", json={"prompt": "abc", "max_tokens": 2})
            assert reply.status_code == 200, reply.text
            num_booked += 1

        await ledger.start()
        await ask()
        await until(lambda: ledger.num_written == 1)
        filler = fill(small_disk)
        with structlog.testing.capture_logs() as logged:
            while not ledger.is_failing:  # What was freed inside of the database's files holds some rows.
                for _ in range(BATCH):
                    ledger.book(new_row())
                num_booked += BATCH
                await asyncio.sleep(0.02)
            for _ in range(20):
                await ask()
            refused = await http.delete("/admin/v1/keys/a", headers={"Authorization": f"Bearer {TOKEN}"})
            metrics = (await http.get("/metrics")).text
            assert "llmos:usage_ledger_failing 1.0" in metrics
            assert f"llmos:usage_rows_pending {float(num_booked - ledger.num_written)}" in metrics
            filler.unlink()
            await until(lambda: not ledger.num_pending and not ledger.is_failing)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "database_unavailable")
        warned, *others = [line for line in logged if line["event"].startswith("usage ledger waits")]
        assert others == []  # Not at every try, of which there were many.
        assert "Free space on its disk" in warned["error"]
        assert [line["dropped"] for line in logged if line["event"] == "usage ledger goes on"] == [0]
        assert (await store.usage.totals(EVERYBODY))[0].requests == num_booked == ledger.num_written
        async with store.database.read() as connection:
            assert (await connection.exec_driver_sql("PRAGMA integrity_check")).scalar_one() == "ok"
        assert "llmos:usage_ledger_failing 0.0" in (await http.get("/metrics")).text
        await ledger.stop()
    await store.close()


def new_row() -> UsageRow:
    return UsageRow(
        request_id="r" * 100,
        owner="",
        model="tiny",
        endpoint="/v1/completions",
        prompt_tokens=1,
        completion_tokens=1,
        seconds=0.1,
        status="stop",
    )
