"""A run's stored responses, fixed when it first begins: later attempts measure the same ones, whatever was said, or
deleted, meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any

import msgspec

from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.rows import MAX_LINE_BYTES
from llmos_server.evaluation.sources import MAX_ROWS, Row, StoredResponses
from llmos_server.evaluation.stored import matches, to_row
from llmos_server.job_contracts import JobContext
from llmos_server.store.response_logs import LoggedResponse, reading_earlier, reading_responses

FILE = "items.jsonl"


def remove_snapshot(context: JobContext) -> None:
    """At the end of a run: what a client deletes is then in its items alone."""
    (context.folder / FILE).unlink(missing_ok=True)


class Snapshot:
    """JSON lines in the job's folder, the newest response first."""

    def __init__(self, context: JobContext, wanted: StoredResponses, metadata: Mapping[str, Any]) -> None:
        """metadata: that the eval wants, beside the run."""
        self._context = context
        self._wanted = wanted
        self._metadata = metadata
        self._path = context.folder / FILE
        self._left_out = 0

    def take(self) -> Path:
        """The file, which an earlier attempt may have made. Raises InvalidRequest where no response matches."""
        if self._path.is_file():
            return self._path
        unfinished = self._path.with_suffix(".part")
        with unfinished.open("wb") as file:
            number = self._write(file)
            file.flush()
            os.fsync(file.fileno())
        if not number:
            raise InvalidRequest(
                "No stored response of yours matches the source" + self._told() + ".",
                param="data_source.source",
                code="no_items",
            )
        unfinished.replace(self._path)
        self._context.log(f"{number} stored responses match the source{self._told()}.")
        return self._path

    def _write(self, file: IO[bytes]) -> int:
        number = 0
        limit = self._context.settings.storage.max_file_bytes
        for row in islice(self._rows(), self._wanted.limit or MAX_ROWS):
            line = msgspec.json.encode(row)
            if len(line) > MAX_LINE_BYTES:
                self._left_out += 1
                continue
            if file.tell() + len(line) > limit:
                raise InvalidRequest(
                    f"The stored responses that match have more than {limit} bytes. Send a limit, or a shorter time.",
                    param="data_source.source.limit",
                    code="too_many_items",
                )
            file.write(line + b"\n")
            number += 1
        return number

    def _rows(self) -> Iterator[Row]:
        owner, max_bytes = self._context.job.owner, self._context.settings.storage.max_object_bytes
        for logged in self._matching(owner):
            try:
                earlier = self._context.read(reading_earlier(owner, logged, max_bytes))
                yield to_row(logged.response, logged.input_items, earlier)
            except InvalidRequest:
                self._left_out += 1

    def _matching(self, owner: str) -> Iterator[LoggedResponse]:
        first = (self._wanted.created_after or 0) * 1000
        until = self._wanted.created_before
        last = self._context.job.created if until is None else until * 1000 + 999
        before, has_more = None, True
        while has_more:
            page, has_more = self._context.read(reading_responses(owner, first, last, before))
            for logged in page:
                self._context.check()
                if matches(self._wanted, self._metadata, logged.response):
                    yield logged
                before = logged

    def _told(self) -> str:
        if not self._left_out:
            return ""
        return f"; {self._left_out} were left out, as what they go on from isn't kept, or is too long"
