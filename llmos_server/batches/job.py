"""A batch as a job: its file is checked, its requests are asked, its answers become files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.batches.input_lines import LineRequest, check_input, read_requests
from llmos_server.batches.journal import Journal
from llmos_server.batches.results import keep_file, wrong_lines
from llmos_server.batches.run import BatchRun, Expired
from llmos_server.batches.spec import INPUT, BatchSpec, BatchState
from llmos_server.files.folder import FileFolder
from llmos_server.job_contracts import Cancelled, JobContext, JobFailed, Write
from llmos_server.store.files import StoredFile, register_file


def run(context: JobContext) -> None:
    """See job_contracts.py."""
    _Batch(context).run()


class _Batch:
    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._spec = context.payload(BatchSpec)
        self._path: Path = context.folder / INPUT
        self._max_body_bytes = context.settings.api.max_body_bytes
        self._state = BatchState()
        if context.job.result is not None:
            self._state = msgspec.json.decode(context.job.result, type=BatchState)

    def run(self) -> None:
        self._check()
        journal = Journal(self._context.folder)
        try:
            self._answer(journal)
        finally:
            journal.close()

    def _check(self) -> None:
        """Raises JobFailed."""
        if self._state.in_progress is not None:
            return  # An earlier run has.
        try:
            found = check_input(self._path, self._spec.endpoint, self._max_body_bytes, self._context.check)
        except FileNotFoundError:
            raise JobFailed(
                "The batch's input is not on this server's disk. Upload it again, and make another batch.",
                code="input_file_missing",
            ) from None
        if found.errors:
            self._change(total=found.num_requests, errors=found.errors)
            self._context.write()
            first = found.errors[0]
            raise JobFailed(f"The input file can't be run; line {first.line}: {first.message}", code="invalid_input")
        self._change(total=found.num_requests, model=found.model, in_progress=_now())
        self._context.write()

    def _answer(self, journal: Journal) -> None:
        try:
            asyncio.run(self._ask(journal))
        except Expired:
            self._change(has_expired=True)
        except Cancelled:
            self._change(cancelling=_now())
            self._keep_what_there_is(journal)
            raise
        except JobFailed:
            self._keep_what_there_is(journal)
            raise
        self._change(finalizing=_now())
        state, writes = self._keep_results(journal)
        self._context.finish(state, *writes)

    async def _ask(self, journal: Journal) -> None:
        self._count(journal)
        run = BatchRun(
            self._context,
            self._spec.endpoint,
            journal,
            expires=self._spec.expires,
            concurrency=self._context.settings.jobs.batch_requests,
            on_answer=lambda: self._count(journal),
        )
        await run.ask_all(self._requests())

    def _requests(self) -> Iterator[LineRequest]:
        return read_requests(self._path, self._spec.endpoint, self._max_body_bytes)

    def _count(self, journal: Journal) -> None:
        self._change(completed=journal.num_good, failed=journal.num_failed, tokens=journal.tokens)

    def _keep_what_there_is(self, journal: Journal) -> None:
        """Before the batch ends without being done; once, however often it is begun."""
        if self._state.output_file_id is None and self._state.error_file_id is None:
            state, writes = self._keep_results(journal)
            self._context.write(*writes, result=state)

    def _keep_results(self, journal: Journal) -> tuple[BatchState, list[Write]]:
        """Both files, on the disk; and what makes them the owner's, together with a state that names them."""
        ids = [request.custom_id for request in self._requests()]
        good = journal.lines(ids, is_good=True)
        wrong = wrong_lines(journal, ids, has_expired=self._state.has_expired)
        output, errors = asyncio.run(self._keep("output", good)), asyncio.run(self._keep("error", wrong))
        state = msgspec.structs.replace(
            self._state,
            output_file_id=None if output is None else output.id,
            error_file_id=None if errors is None else errors.id,
        )
        return state, [_registering(file) for file in (output, errors) if file is not None]

    async def _keep(self, name: str, lines: Iterable[bytes]) -> StoredFile | None:
        job = self._context.job
        folder = FileFolder(self._context.settings.home)
        return await keep_file(folder, job.owner, f"{job.id}_{name}.jsonl", lines, _now(), self._spec.output_seconds)

    def _change(self, **fields: Any) -> None:
        self._state = state = msgspec.structs.replace(self._state, **fields)
        done = state.completed + state.failed
        detail = f"{done} of {state.total} requests" if state.total else ""
        self._context.progress(done / state.total if state.total else None, detail, state)


def _registering(file: StoredFile) -> Write:
    async def write(connection: AsyncConnection) -> None:
        await register_file(connection, file)

    return write


def _now() -> int:
    return time.time_ns() // 1_000_000
