"""The files of a fine-tuning job: found, checked, and made the job's own."""

from __future__ import annotations

import asyncio
from pathlib import Path

from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.services import files_of, store_of
from llmos_server.data.examples import Format
from llmos_server.data.reading import BadExamples
from llmos_server.data.report import check_file
from llmos_server.data.scanning import Scan
from llmos_server.errors import InvalidRequest
from llmos_server.training.methods.table import get_method

CHECKED_BYTES = 16 * 2**20
"""A smaller file is checked before its job is there; a larger one by the job, at its begin. Lengths are the job's
affair: it knows the model."""
FORMATS: dict[str, Format] = {
    "conversations": "supervised",
    "preferences": "preference",
    "ratings": "rating",
    "prompts": "reinforcement",
    "texts": "text",
    "labels": "label",
}


async def find_training_file(request: AnyRequest, file_id: str, trainer: str, param: str) -> Path:
    """Its content. trainer: of training.methods.table. Raises InvalidRequest for what can't be trained on, with
    lines."""
    found = await store_of(request).files.get(principal_of(request).key_id, file_id)
    if found is None:
        raise InvalidRequest(f"No file of yours has the id {file_id!r}.", param=param, code="file_not_found")
    if found.purpose != "fine-tune":
        raise InvalidRequest(
            f"The file {file_id!r} was uploaded for {found.purpose}; upload it with the purpose fine-tune.", param=param
        )
    place = files_of(request).place(file_id)
    if not place.is_file():
        raise NotFound(
            f"The content of {file_id!r} is not on this server's disk. Upload it again.",
            param=param,
            code="file_content_missing",
        )
    if found.num_bytes <= CHECKED_BYTES:
        scan = Scan(FORMATS[get_method(trainer).data])
        report = await asyncio.to_thread(check_file, place, scan)
        if not report.is_good:
            raise BadExamples(report, param)
    return place
