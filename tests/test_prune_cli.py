"""llmos prune and llmos keys erase, on the database of this machine; and what a backup holds of stored objects."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from job_fakes import make_job

from llmos_server.adapter_contracts import AdapterVersion
from llmos_server.backup.create import create_backup
from llmos_server.backup.restore import restore_backup
from llmos_server.cli import main
from llmos_server.files.folder import FileFolder
from llmos_server.job_contracts import Job, JobKind
from llmos_server.settings import Settings
from llmos_server.store.eval_runs import StoredRun
from llmos_server.store.files import StoredFile
from llmos_server.store.objects import now_milliseconds
from llmos_server.store.store import Store, open_store


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMOS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def call(*arguments: str, status: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        assert (ended.value.code or 0) == status, captured.err
        return captured.err if status else captured.out

    return call


@pytest.fixture
def in_store(home: Path) -> Callable[[Callable[[Store], Any]], Any]:
    def call(work: Callable[[Store], Any]) -> Any:
        async def inside() -> Any:
            async with open_store(Settings(home=home)) as store:
                return await work(store)

        return asyncio.run(inside())

    return call


async def fill(store: Store, *owners: str) -> None:
    for owner in owners:
        await store.responses.save(owner, {"id": f"r_{owner}", "status": "completed", "output": []}, [])
        await store.conversations.create(owner, {"of": owner}, [{"id": "i"}])
        await store.feedback.add(owner, "tiny", 1, {"answer": "x"})
        await store.files.add(await keep_file(store, owner))
        await store.jobs.add(ended_job(f"job_{owner}", owner))
        await store.adapters.register(keep_adapter(store, owner))
        made = await store.evals.add(owner, "Eval", {"of": owner})
        run = StoredRun(owner=owner, id=f"evalrun_{owner}", eval_id=made.id, name="r", model="", content={}, created=1)
        await store.eval_runs.add(run, ended_job(run.id, owner, "eval"))


def keep_adapter(store: Store, owner: str) -> AdapterVersion:
    """Each owner's is another."""
    digest = hashlib.sha256(owner.encode()).hexdigest()
    folder = store.database.home / "adapters" / digest
    folder.mkdir(parents=True)
    return AdapterVersion(
        name=f"tiny:{owner or 'all'}",
        base="tiny",
        base_digest="sha256:1",
        digest=f"sha256:{digest}",
        folder=str(folder),
        rank=8,
        num_bytes=7,
        owner=owner,
        job_id="",
        created=now_milliseconds() // 1000 - 1,
    )


def ended_job(job_id: str, owner: str, kind: JobKind = "batch") -> Job:
    return make_job(job_id, kind, owner=owner, status="cancelled", ended=now_milliseconds() - 1000)


async def keep_file(store: Store, owner: str) -> StoredFile:
    name = f"file-{uuid.uuid4().hex}"
    async with FileFolder(store.database.home).begin(name) as upload:
        await upload.write(b"content")
        digest = await upload.keep()
    values = {"filename": "a", "purpose": "batch", "num_bytes": 7, "created": now_milliseconds()}
    return StoredFile(owner=owner, id=name, digest=digest, **values)


NOTHING = {"responses": 0, "conversations": 0, "feedback": 0, "files": 0, "jobs": 0, "evals": 0, "adapters": 0}
ONE_OF_EACH = dict.fromkeys(NOTHING, 1) | {"jobs": 2}
"""A run of an eval is a job, too."""


async def folders_of(store: Store) -> list[Path]:
    return [FileFolder(store.database.home).path, store.database.home / "adapters"]


def counts(text: str) -> dict[str, int]:
    return {one["kind"]: one["num_objects"] for one in json.loads(text)["data"]}


def test_all_of_one_key_goes_and_nobody_elses(run, in_store) -> None:
    run("keys", "create", "laptop")
    run("keys", "create", "other")
    ids = {key["name"]: key["id"] for key in json.loads(run("keys", "list", "--json"))}
    laptop, other = ids["laptop"], ids["other"]
    in_store(lambda store: fill(store, laptop, other, ""))
    run("keys", "revoke", "laptop")
    assert counts(run("keys", "erase", "laptop", "--dry-run", "--json")) == ONE_OF_EACH
    folders = in_store(folders_of)
    assert [len(list(folder.iterdir())) for folder in folders] == [3, 3]
    table = run("keys", "erase", "laptop")
    assert [len(list(folder.iterdir())) for folder in folders] == [2, 2]
    assert [line.split()[:2] for line in table.splitlines()] == [
        ["KIND", "REMOVED"],
        ["responses", "1"],
        ["conversations", "1"],
        ["feedback", "1"],
        ["files", "1"],
        ["jobs", "2"],
        ["evals", "1"],
        ["adapters", "1"],
    ]
    assert counts(run("keys", "erase", laptop, "--json")) == NOTHING
    assert counts(run("prune", "--key", "", "--kind", "responses", "--json")) == {"responses": 1}
    assert in_store(lambda store: store.responses.get(other, f"r_{other}")) is not None
    assert {key["name"] for key in json.loads(run("keys", "list", "--json"))} == {"laptop", "other"}


def test_by_age(run, in_store) -> None:
    in_store(lambda store: fill(store, "a"))
    nothing = {kind: 0 for kind in NOTHING if kind != "adapters"}
    assert counts(run("prune", "--json")) == nothing
    assert counts(run("prune", "--older-than", "1h", "--json")) == nothing
    assert "WOULD GO" in run("prune", "--older-than", "0m", "--dry-run")
    assert counts(run("prune", "--older-than", "0m", "--json")) == {kind: ONE_OF_EACH[kind] for kind in nothing}
    assert counts(run("prune", "--older-than", "0m", "--kind", "adapters", "--json")) == {"adapters": 1}


def test_what_cannot_be_meant_is_refused(run) -> None:
    assert "No key has the id or name 'none'" in run("prune", "--key", "none", status=1)
    assert "older_than is 'old'" in run("prune", "--older-than", "old", status=1)
    run("keys", "create", "twin")
    run("keys", "revoke", "twin")
    run("keys", "create", "twin")
    assert "name one by its id" in run("keys", "erase", "twin", status=1)


def test_a_backup_holds_what_is_stored(home: Path, in_store, tmp_path: Path) -> None:
    in_store(lambda store: fill(store, "a"))
    create_backup(Settings(home=home), tmp_path / "b.tar")
    in_store(lambda store: store.object_removals.remove("responses", "a", None, 10))
    restore_backup(Settings(home=home), tmp_path / "b.tar")
    assert in_store(lambda store: store.responses.get("a", "r_a")) is not None
    assert in_store(lambda store: store.object_removals.count("conversations", "a", None)).num_objects == 1
