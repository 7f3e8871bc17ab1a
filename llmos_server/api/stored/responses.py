"""Stored responses over HTTP: get, delete, cancel, and what each was made of."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery
from litestar.types import ASGIApp

from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.http.responses import ERRORS, json_bytes_response, json_response
from llmos_server.api.schemas.responses import Response
from llmos_server.api.schemas.stored import DeletedResponse, ItemList, item_list
from llmos_server.api.services import services_of, store_of
from llmos_server.api.stored.follow import follow
from llmos_server.api.stored.including import check_include
from llmos_server.api.stored.query import PAGE, check_names, read_bool, read_int, read_page
from llmos_server.api.stored.shapes import to_resource
from llmos_server.errors import InvalidRequest
from llmos_server.store.responses import StoredResponse

_TAGS = ["Responses"]
_ERRORS = {status: ERRORS[status] for status in (400, 404, 503)}
_OK = {200: ResponseSpec(Response, description="The response."), **_ERRORS}


@get(
    "/v1/responses/{response_id:str}",
    tags=_TAGS,
    summary="A stored response",
    description="With stream=true, the events of one that was made in the background, or is being made.",
    responses=_OK,
)
async def get_response(
    request: AnyRequest,
    response_id: FromPath[str],
    include: FromQuery[list[str] | None] = None,
    stream: FromQuery[str | None] = None,
    starting_after: FromQuery[str | None] = None,
    include_obfuscation: FromQuery[str | None] = None,
) -> ASGIApp:
    check_names(request, ("include", "stream", "starting_after", "include_obfuscation"))
    check_include(request)
    after = read_int(request, "starting_after")
    stored = await _find(request, response_id)
    if read_bool(request, "stream"):
        return await follow(request, stored, -1 if after is None else after)
    if after is not None:
        raise InvalidRequest("starting_after goes with stream=true.", param="starting_after")
    return _answer(request, stored)


@delete(
    "/v1/responses/{response_id:str}",
    status_code=200,
    tags=_TAGS,
    summary="Delete a stored response, and end it where it is being made",
    responses={200: ResponseSpec(DeletedResponse, description="It was there, and is no more."), **_ERRORS},
)
async def delete_response(request: AnyRequest, response_id: FromPath[str]) -> ASGIApp:
    owner = principal_of(request).key_id
    await services_of(request).jobs.cancel(owner, response_id)
    if not await store_of(request).responses.delete(owner, response_id):
        raise _missing(response_id)
    return json_response(request, DeletedResponse(id=response_id))


@post(
    "/v1/responses/{response_id:str}/cancel",
    status_code=200,
    tags=_TAGS,
    summary="End a response that is being made in the background",
    description="One that has ended is answered as it is.",
    responses=_OK,
)
async def cancel_response(request: AnyRequest, response_id: FromPath[str]) -> ASGIApp:
    stored = await _find(request, response_id)
    if not stored.response.get("background"):
        raise InvalidRequest(
            f"The response {response_id!r} wasn't made with background: true. End such a one by closing its "
            "connection.",
            param="response_id",
            code="not_in_background",
        )
    if stored.is_finished:
        return _answer(request, stored)
    owner = principal_of(request).key_id
    await services_of(request).jobs.cancel(owner, response_id)
    # Where another server makes it, that one finds at its next turn that the response is no longer its own.
    cancelled = {**(await _find(request, response_id)).response, "status": "cancelled"}
    await store_of(request).responses.replace_unfinished(owner, cancelled)
    return _answer(request, await _find(request, response_id))


@get(
    "/v1/responses/{response_id:str}/input_items",
    tags=_TAGS,
    summary="What a stored response was asked, a page at a time",
    description="Its own input; what it went on from is the input and output of those before.",
    responses={200: ResponseSpec(ItemList, description="The newest first, unless order=asc."), **_ERRORS},
)
async def list_input_items(
    request: AnyRequest,
    response_id: FromPath[str],
    after: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
    order: FromQuery[str | None] = None,
    include: FromQuery[list[str] | None] = None,
) -> ASGIApp:
    check_names(request, (*PAGE, "include"))
    check_include(request)
    page = read_page(request)
    items = [to_resource(item) for item in (await _find(request, response_id)).input_items]
    if page.order == "desc":
        items.reverse()
    if page.after is not None:
        ids = [item["id"] for item in items]
        if page.after not in ids:
            raise InvalidRequest(
                f"after: the response {response_id!r} has no input item {page.after!r}.", param="after"
            )
        items = items[ids.index(page.after) + 1 :]
    return json_response(request, item_list(items[: page.limit], has_more=len(items) > page.limit))


async def _find(request: AnyRequest, response_id: str) -> StoredResponse:
    """Raises NotFound for another key's, too."""
    stored = await store_of(request).responses.get(principal_of(request).key_id, response_id)
    if stored is None:
        raise _missing(response_id)
    return stored


def _missing(response_id: str) -> NotFound:
    return NotFound(
        f"No response of yours has the id {response_id!r}. It may have been deleted, or made with store: false.",
        param="response_id",
        code="response_not_found",
    )


def _answer(request: AnyRequest, stored: StoredResponse) -> ASGIApp:
    content: Any = stored.response
    return json_bytes_response(request, msgspec.json.encode(content))
