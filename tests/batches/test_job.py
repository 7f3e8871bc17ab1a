"""A batch from its file to its answers, over a real database and a server that answers as it is told."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from job_fakes import job_context, make_job, read_job
from migrated import migrate

from llmos_server.api.batches.describing import describe
from llmos_server.batches.job import run
from llmos_server.batches.journal import ANSWERS
from llmos_server.batches.spec import BatchSpec
from llmos_server.files.folder import FileFolder
from llmos_server.job_contracts import Cancelled, JobFailed
from llmos_server.settings import JobsSettings, Settings
from llmos_server.store.database import Database
from llmos_server.store.jobs import JobRepository
from llmos_server.store.store import Store

ENDPOINT = "/v1/chat/completions"


def line(number: int, **body: Any) -> dict[str, Any]:
    return {"custom_id": f"r{number}", "method": "POST", "url": ENDPOINT, "body": {"model": "m", "n": number, **body}}


@pytest.fixture
def begin(tmp_path: Path, server: Any):
    """Runs the job once, as its process does; what it raised is raised."""

    def start(seconds: float = 3600, **settings: Any) -> None:
        spec = BatchSpec(endpoint=ENDPOINT, input_file_id="file-x", expires=int((time.time() + seconds) * 1000))
        jobs = Settings(home=tmp_path, jobs=JobsSettings(**settings))
        with job_context(tmp_path, "batch", spec, settings=jobs, server=server) as context:
            run(context)

    return start


def lines_of(home: Path, file_id: str | None) -> list[Any]:
    assert file_id is not None
    return [json.loads(text) for text in FileFolder(home).place(file_id).read_text().splitlines()]


def batch(home: Path) -> Any:
    return describe(read_job(home))


def test_all_are_answered_in_the_files_order(tmp_path, answering, begin, write_input) -> None:
    def answer(body: Any) -> Any:
        time.sleep(0.05 if body["n"] == 1 else 0)
        if body["n"] == 3:
            return 400, {"error": {"code": "bad", "message": "no"}}, {"x-request-id": "req_3"}
        usage = {"input_tokens": 3, "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 1}}
        return 200, {"said": body["n"], "usage": usage}, {"x-request-id": f"req_{body['n']}"}

    answering.answer = answer
    write_input(*(line(number) for number in (1, 2, 3, 4)))
    begin(batch_requests=2)
    done = batch(tmp_path)
    assert (done.status, done.model, done.errors) == ("completed", "m", None)
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (4, 3, 1)
    assert (done.usage.total_tokens, done.usage.output_tokens_details.reasoning_tokens) == (15, 3)
    assert done.created_at <= done.in_progress_at <= done.finalizing_at <= done.completed_at
    output, wrong = lines_of(tmp_path, done.output_file_id), lines_of(tmp_path, done.error_file_id)
    assert [one["custom_id"] for one in output] == ["r1", "r2", "r4"]
    assert output[0]["response"]["body"]["said"] == 1
    assert {name: output[0]["response"][name] for name in ("status_code", "request_id")} == {
        "status_code": 200,
        "request_id": "req_1",
    }
    assert output[0]["error"] is None
    assert output[0]["id"].startswith("batch_req_")
    assert [(one["custom_id"], one["response"]["status_code"]) for one in wrong] == [("r3", 400)]
    assert answering.keys == {"Bearer llmos-job-x"}
    assert answering.most_at_once == 2


def test_what_was_answered_is_not_asked_again(tmp_path, answering, begin, write_input) -> None:
    def dies_at_the_third(body: Any) -> Any:
        if body["n"] == 3:
            return 401, {"error": {"code": "invalid_api_key", "message": "no"}}, {}
        return 200, {"said": body["n"]}, {}

    write_input(*(line(number) for number in (1, 2, 3, 4)))
    answering.answer = dies_at_the_third
    with pytest.raises(JobFailed) as failed:
        begin(batch_requests=1)
    assert failed.value.code == "key_revoked"
    kept = batch(tmp_path)
    assert [one["custom_id"] for one in lines_of(tmp_path, kept.output_file_id)] == ["r1", "r2"]
    with (tmp_path / "jobs" / "job_1" / ANSWERS).open("ab") as journal:
        journal.write(b'{"id":"batch_req_torn","custom_id":"r3","resp')
    answering.answer = lambda body: (200, {"said": body["n"]}, {})
    begin(batch_requests=1)
    assert answering.asked == [1, 2, 3, 3, 4]
    done = batch(tmp_path)
    assert done.status == "completed"
    assert [one["custom_id"] for one in lines_of(tmp_path, done.output_file_id)] == ["r1", "r2", "r3", "r4"]


def test_a_cancelled_batch_keeps_what_it_has(tmp_path, answering, begin, write_input) -> None:
    def cancel_at_the_second(body: Any) -> Any:
        if body["n"] == 2:
            threading.Thread(target=wish, args=(tmp_path, "cancel")).start()
            time.sleep(30)
        return 200, {"said": body["n"]}, {}

    answering.answer = cancel_at_the_second
    write_input(line(1), line(2), line(3))
    with pytest.raises(Cancelled):
        begin(batch_requests=1)
    seen = batch(tmp_path)
    assert (seen.status, seen.cancelling_at is not None) == ("cancelling", True)
    assert [one["custom_id"] for one in lines_of(tmp_path, seen.output_file_id)] == ["r1"]
    with pytest.raises(Cancelled):  # It is begun once more, and asks nothing.
        begin(batch_requests=1)
    assert answering.asked == [1, 2]
    assert batch(tmp_path).output_file_id == seen.output_file_id


def wish(home: Path, what: Any) -> None:
    async def ask() -> None:
        store = Store(Database(home))
        await store.jobs.wish("", "job_1", what)
        await store.close()

    asyncio.run(ask())


def test_what_is_not_answered_in_time_is_told(tmp_path, answering, begin, write_input) -> None:
    answering.answer = lambda body: (429, {"error": {"code": "queue_full"}}, {"retry-after": "30"})
    write_input(line(1), line(2))
    begin(seconds=0.3)
    done = batch(tmp_path)
    assert (done.status, done.expired_at is not None, done.output_file_id) == ("expired", True, None)
    wrong = lines_of(tmp_path, done.error_file_id)
    assert [(one["custom_id"], one["response"], one["error"]["code"]) for one in wrong] == [
        ("r1", None, "batch_expired"),
        ("r2", None, "batch_expired"),
    ]


def test_a_busy_server_is_asked_again_and_one_that_fails_a_few_times(tmp_path, answering, begin, write_input) -> None:
    def answer(body: Any) -> Any:
        num_asked = answering.asked.count(body["n"])
        if body["n"] == 1 and num_asked < 3:
            return 503, {"error": {"code": "engine_busy"}}, {"retry-after": "0"}
        if body["n"] == 2:
            return 503, {"error": {"code": "engine_failed"}}, {"retry-after": "0"}
        return 200, {"said": body["n"]}, {}

    answering.answer = answer
    write_input(line(1), line(2))
    begin()
    assert (answering.asked.count(1), answering.asked.count(2)) == (3, 5)
    counts = batch(tmp_path).request_counts
    assert (counts.completed, counts.failed) == (1, 1)


def test_a_file_that_cannot_be_run_says_where(tmp_path, answering, begin, write_input) -> None:
    write_input(line(1), "x\n", line(1))
    with pytest.raises(JobFailed) as failed:
        begin()
    assert failed.value.code == "invalid_input"
    assert "line 2" in str(failed.value)
    errors = batch(tmp_path).errors.data
    assert [(one.line, one.code) for one in errors] == [(2, "invalid_json_line"), (3, "duplicate_custom_id")]
    assert answering.asked == []


def test_a_batch_whose_input_is_gone(tmp_path, begin, answering) -> None:
    with pytest.raises(JobFailed) as failed:
        begin()
    assert failed.value.code == "input_file_missing"


async def test_a_batch_that_waits_after_a_crash_makes_its_files_before_it_is_cancelled(tmp_path: Path) -> None:
    store = Store(Database(tmp_path))
    await migrate(store.database)
    jobs: JobRepository = store.jobs
    await jobs.add(make_job("fresh", "batch", status="queued"))
    await jobs.add(make_job("begun", "batch", status="paused", epoch=1))
    assert (await jobs.wish("", "fresh", "cancel")).status == "cancelled"
    begun = await jobs.wish("", "begun", "cancel")
    assert (begun.status, begun.wish) == ("queued", "cancel")
    assert (await jobs.wish("", "begun", "pause")).status == "queued"
    assert msgspec.structs.asdict(await jobs.resume("", "begun"))["wish"] == "cancel"
    await store.close()
