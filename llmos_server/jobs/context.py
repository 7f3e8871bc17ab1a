"""What a job's code sees of its job: the synchronous face of a run, whose event loop has a thread of its own."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from llmos_server.job_contracts import Job, JobEvent, JobFailed, Level, Read, ServerAddress, Write
from llmos_server.jobs.run import Run
from llmos_server.settings import Settings
from llmos_server.store.database import Database

T = TypeVar("T")

MAX_MESSAGE = 10_000
"""Characters of one message."""


class RunContext:
    """Implements JobContext."""

    def __init__(
        self,
        run: Run,
        folder: Path,
        settings: Settings,
        server: ServerAddress,
        database: Database,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.job: Job = run.job
        self.folder = folder
        self.settings = settings
        self.server = server
        self._run = run
        self._database = database
        self._loop = loop

    def payload(self, type: type[T]) -> T:
        try:
            return msgspec.json.decode(self.job.payload, type=type)
        except (msgspec.DecodeError, ValueError) as error:
            raise JobFailed(
                f"What the job is to do can't be read ({error}): another version of LLMOS wrote it. Make the job anew.",
                code="unreadable_payload",
            ) from None

    def log(self, message: str, level: Level = "info", data: Mapping[str, Any] | None = None) -> None:
        self._tell(message=message[:MAX_MESSAGE], level=level, data=dict(data or {}))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        shown = ", ".join(f"{name}={value:.6g}" for name, value in values.items())
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._tell(type="metrics", message=f"Step {step}: {shown}", data={"step": step, **finite})

    def progress(self, share: float | None, detail: str = "", result: Any = None) -> None:
        told = {} if result is None else {"result": msgspec.json.encode(result)}
        self._run.told.note(progress=share, detail=detail, **told)

    def check(self) -> None:
        stop = self._run.stop
        if stop is not None:
            raise stop

    def read(self, read: Read[T]) -> T:
        async def found() -> T:
            async with self._database.read() as connection:
                return await read(connection)

        return self._wait(found())

    def write(self, *writes: Write, result: Any = None) -> None:
        self._write(writes, result)

    def checkpoint(self, *writes: Write, result: Any = None) -> None:
        self._write(writes, result, attempts=0)

    def finish(self, result: Any, *writes: Write) -> None:
        content = msgspec.json.encode(result)
        self._wait(self._run.patiently(lambda: self._run.succeed(content, writes)))

    def _write(self, writes: Sequence[Write], result: Any, **values: Any) -> None:
        if result is not None:
            values["result"] = msgspec.json.encode(result)
        self._wait(self._run.patiently(lambda: self._run.write(writes, **values)))

    def _tell(self, **fields: Any) -> None:
        self._run.told.add(JobEvent(job_id=self.job.id, number=0, created=self._run.now(), **fields))

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class FollowerContext(RunContext):
    """Of a rank that isn't the first one: it sees the job, and what it would tell the first one tells."""

    def progress(self, share: float | None, detail: str = "", result: Any = None) -> None: ...

    def check(self) -> None: ...

    def finish(self, result: Any, *writes: Write) -> None: ...

    def _write(self, writes: Sequence[Write], result: Any, **values: Any) -> None: ...

    def _tell(self, **fields: Any) -> None: ...


@contextmanager
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One that runs in a thread of its own, until the end of the context."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="job-database", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def call_in(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()


@contextmanager
def watched(run: Run, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """The run is watched as long as the context is open."""

    async def start() -> asyncio.Task[None]:
        return asyncio.create_task(run.watch(), name="job-watch")

    async def end(task: asyncio.Task[None]) -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    task = call_in(loop, start())
    try:
        yield
    finally:
        call_in(loop, end(task))
