"""GET /admin/v1/logs: the server's log, read back or followed."""

from __future__ import annotations

import asyncio
from typing import get_args

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery
from litestar.types import ASGIApp

from llmos_server.api.admin.watch_stream import event, open_watch_stream
from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.admin_logs import LogGap, LogList
from llmos_server.api.services import services_of
from llmos_server.api.stored.query import check_names, read_bool, read_int
from llmos_server.errors import InvalidRequest
from llmos_server.logbook.lines import Level, LogBook, LogFilter

DEFAULT_LIMIT = 200
MAX_LIMIT = 1000
MAX_CONTAINS = 200
FOLLOW_SECONDS = 0.5
GAP = "Lines were skipped here: they came faster than this stream is read, or their file is gone."


@get(
    "/admin/v1/logs",
    guards=[require_admin],
    tags=["Administration"],
    summary="The server's log, the newest lines last",
    description="With follow=true, server-sent events: log, with a line, and gap where lines were skipped.",
    responses={200: ResponseSpec(LogList, description="A page."), 400: ERRORS[400]},
)
async def read_logs(
    request: AnyRequest,
    level: FromQuery[str | None] = None,
    contains: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
    before: FromQuery[str | None] = None,
    follow: FromQuery[str | None] = None,
    after: FromQuery[str | None] = None,
) -> ASGIApp:
    check_names(request, ("level", "contains", "limit", "before", "follow", "after"))
    book = services_of(request).logbook
    if book is None:
        raise NotFound("This server's log can't be read back.", code="no_log")
    wanted = _read_filter(level, contains)
    if read_bool(request, "follow"):
        for name in ("limit", "before"):
            if name in request.query_params:
                raise InvalidRequest(f"{name} goes with follow=false; a stream goes on from after.", param=name)
        return await _follow(request, book, wanted, after or request.headers.get("last-event-id"))
    if after is not None:
        raise InvalidRequest("after goes with follow=true.", param="after")
    page = await asyncio.to_thread(book.page, wanted, before, _read_limit(request))
    return json_response(request, LogList(data=page.lines, before=page.before, end=page.end))


async def _follow(request: AnyRequest, book: LogBook, wanted: LogFilter, after: str | None) -> ASGIApp:
    if after is None:
        after = (await asyncio.to_thread(book.page, wanted, None, 1)).end
    cursor = after
    await asyncio.to_thread(book.since, wanted, cursor)  # A cursor that can't be read has a status of its own.

    async def look() -> list[bytes]:
        nonlocal cursor
        new = await asyncio.to_thread(book.since, wanted, cursor)
        while not (new.lines or new.is_gap) and new.cursor != cursor:  # All lines so far aren't wanted.
            cursor = new.cursor
            new = await asyncio.to_thread(book.since, wanted, cursor)
        places = [*(line.cursor for line in new.lines[1:]), new.cursor]
        cursor = new.cursor
        gap = [event("gap", LogGap(reason=GAP))] if new.is_gap else []
        return [*gap, *(event("log", line, place) for line, place in zip(new.lines, places, strict=False))]

    return open_watch_stream(request, look, FOLLOW_SECONDS)


def _read_filter(level: str | None, contains: str | None) -> LogFilter:
    if level not in (None, *get_args(Level)):
        raise InvalidRequest(f"level is the least one, of {', '.join(get_args(Level))}.", param="level")
    if contains is not None and len(contains) > MAX_CONTAINS:
        raise InvalidRequest(f"contains has at most {MAX_CONTAINS} characters.", param="contains")
    return LogFilter(level=level, contains=contains or "")  # type: ignore[arg-type]


def _read_limit(request: AnyRequest) -> int:
    limit = read_int(request, "limit")
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest(f"limit is a whole number from 1 to {MAX_LIMIT}.", param="limit")
    return limit
