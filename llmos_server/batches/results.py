"""The files that a batch leaves: its answers, and what went wrong, in the order of its input."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator

import msgspec

from llmos_server.batches.journal import Answer, Failure, Journal
from llmos_server.files.folder import FileFolder
from llmos_server.store.files import StoredFile

PURPOSE = "batch_output"
EXPIRED = Failure("batch_expired", "This request could not be executed before the completion window expired.")


async def keep_file(
    folder: FileFolder, owner: str, filename: str, lines: Iterable[bytes], now: int, seconds: int | None
) -> StoredFile | None:
    """Its content is on the disk when this returns; nothing leads to it yet. None: there are no lines. now: Unix
    milliseconds; seconds: that it lives. Raises StorageFull."""
    async with folder.begin(f"file-{uuid.uuid4().hex}") as upload:
        for line in lines:
            await upload.write(line)
        if not upload.num_bytes:
            return None
        digest = await upload.keep()
    return StoredFile(
        owner=owner,
        id=upload.id,
        filename=filename,
        purpose=PURPOSE,
        num_bytes=upload.num_bytes,
        digest=digest,
        created=now,
        expires=None if seconds is None else now + seconds * 1000,
    )


def wrong_lines(journal: Journal, custom_ids: Iterable[str], *, has_expired: bool) -> Iterator[bytes]:
    """What failed; and of an expired batch, what was never answered."""
    for custom_id in custom_ids:
        if custom_id in journal.places:
            yield from journal.lines([custom_id], is_good=False)
        elif has_expired:
            answer = Answer(id=f"batch_req_{uuid.uuid4().hex}", custom_id=custom_id, error=EXPIRED)
            yield msgspec.json.encode(answer) + b"\n"
