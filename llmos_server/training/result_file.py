"""The metrics of a run as a file of its owner's, as OpenAI has it: a CSV with a line for each step. Torch-free."""

from __future__ import annotations

import asyncio
import csv
import io
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.files.folder import FileFolder
from llmos_server.job_contracts import JobContext, Write
from llmos_server.store.files import StoredFile, register_file
from llmos_server.store.job_events import read_metrics

FILENAME, PURPOSE = "step_metrics.csv", "fine-tune-results"
FIRST = ("step", "train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy")


def keep_result_file(context: JobContext) -> tuple[str, Write]:
    """Its id, and what makes it its owner's: for the transaction that ends the job. The content is on the disk when
    this returns; nothing else leads to it, so it is swept away if the job doesn't end now. Raises StorageFull."""
    context.write()
    events = context.read(lambda connection: read_metrics(connection, context.job.id))
    content = to_csv(event.data for event in events).encode()
    file = asyncio.run(_keep(context, content))

    async def write(connection: AsyncConnection) -> None:
        await register_file(connection, file)

    return file.id, write


def to_csv(told: Iterable[Mapping[str, Any]]) -> str:
    """told: data of metrics events. A step that was told more than once, as after a crash, has what was told last."""
    steps: dict[int, dict[str, Any]] = {}
    for data in told:
        steps.setdefault(int(data["step"]), {}).update(data)
    names = {name for row in steps.values() for name in row}
    columns = [*(name for name in FIRST if name in names or name == "step"), *sorted(names - set(FIRST))]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(steps[step] for step in sorted(steps))
    return text.getvalue()


async def _keep(context: JobContext, content: bytes) -> StoredFile:
    async with FileFolder(context.settings.home).begin(f"file-{uuid.uuid4().hex}") as upload:
        await upload.write(content)
        digest = await upload.keep()
    return StoredFile(
        owner=context.job.owner,
        id=upload.id,
        filename=FILENAME,
        purpose=PURPOSE,
        num_bytes=len(content),
        digest=digest,
        created=time.time_ns() // 1_000_000,
    )
