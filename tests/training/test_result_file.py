"""A run's metrics as a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

from job_fakes import job_context

from llmos_server.files.folder import FileFolder
from llmos_server.store.database import Database
from llmos_server.store.store import Store
from llmos_server.training.result_file import keep_result_file, to_csv


def test_a_step_that_was_told_twice_has_what_was_told_last() -> None:
    told = [{"step": 2, "train_loss": 1.5, "lr": 0.1}, {"step": 1, "train_loss": 2.0}, {"step": 2, "valid_loss": 1.0}]
    assert to_csv([*told, {"step": 2, "train_loss": None}]).splitlines() == [
        "step,train_loss,valid_loss,lr",
        "1,2.0,,",
        "2,,1.0,0.1",
    ]
    assert to_csv([]) == "step\n"


def test_it_is_the_owners_when_the_job_has_ended(tmp_path: Path) -> None:
    async def files() -> list[str]:
        store = Store(Database(tmp_path))
        try:
            return [file.id for file in (await store.files.page("key", limit=9)).files]
        finally:
            await store.close()

    with job_context(tmp_path, "tune", {}, owner="key") as context:
        context.metrics(1, {"train_loss": 2.0})
        context.log("between")
        context.metrics(2, {"train_loss": float("nan")})
        file_id, write = keep_result_file(context)
        assert asyncio.run(files()) == []
        context.finish({}, write)
    assert asyncio.run(files()) == [file_id]
    assert FileFolder(tmp_path).place(file_id).read_text() == "step,train_loss\n1,2.0\n2,\n"
