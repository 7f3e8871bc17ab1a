"""Pages of jobs, events and checkpoints, as the parameters of a list's URL ask for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from llmos_server.api.fine_tuning.order import read_order
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.stored.query import check_names
from llmos_server.errors import InvalidRequest
from llmos_server.job_contracts import Job
from llmos_server.store.jobs import JobRepository

MAX_PAGE = 100
_METADATA = re.compile(r"metadata\[(.{1,64})\]", re.DOTALL)

T = TypeVar("T")


class MetadataFilter:
    """metadata[k]=v, all of them; metadata=null wants those that have none."""

    def __init__(self, request: AnyRequest) -> None:
        query = request.query_params
        self.wanted: Mapping[str, str] = {
            found[1]: query[name] for name in query if (found := _METADATA.fullmatch(name)) is not None
        }
        self.wants_none = query.get("metadata") == "null"
        if "metadata" in query and not self.wants_none:
            raise InvalidRequest("metadata is null, or metadata[name]=value.", param="metadata")
        known = [f"metadata[{name}]" for name in self.wanted]
        check_names(request, ("after", "limit", "metadata", *known))

    def holds(self, job: Job) -> bool:
        asked = read_order(job).asked
        metadata = (asked and asked.metadata) or {}
        if self.wants_none:
            return not metadata
        return all(metadata.get(name) == value for name, value in self.wanted.items())


async def page_of_jobs(
    jobs: JobRepository, owner: str, chosen: MetadataFilter, after: str | None, limit: int
) -> tuple[list[Job], bool]:
    """The newest first, and whether there are more. Raises InvalidRequest for an unknown `after`."""
    found: list[Job] = []
    while len(found) <= limit:
        page = await jobs.page(owner, kinds=["tune"], after=after, limit=MAX_PAGE)
        found += [job for job in page.jobs if chosen.holds(job)]
        if not page.has_more:
            break
        after = page.jobs[-1].id
    return found[:limit], len(found) > limit


def page_behind(objects: list[T], ids: list[str], after: str | None, limit: int) -> tuple[list[T], bool]:
    """Of a list that is there as a whole. Raises InvalidRequest for an unknown `after`."""
    if after is not None and after not in ids:
        raise InvalidRequest(f"There is no {after[:100]!r} here.", param="after")
    begin = 0 if after is None else ids.index(after) + 1
    return objects[begin : begin + limit], len(objects) > begin + limit
