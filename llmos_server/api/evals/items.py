"""/v1/evals/{eval_id}/runs/{run_id}/output_items: what came of each item, also while the run goes on."""

from __future__ import annotations

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery
from litestar.types import ASGIApp

from llmos_server.api.errors import NotFound
from llmos_server.api.evals.describing import describe_item, find_run, position_of
from llmos_server.api.evals.evals import ERROR_SPECS, TAGS
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.http.responses import json_response
from llmos_server.api.schemas.evals import EvalOutputItem, EvalOutputItemList
from llmos_server.api.services import store_of
from llmos_server.api.stored.query import PAGE, check_names, read_page
from llmos_server.errors import InvalidRequest
from llmos_server.store.eval_items import ItemStatus

STATUSES: dict[str, ItemStatus] = {"pass": "pass", "fail": "fail", "error": "error"}


@get(
    "/v1/evals/{eval_id:str}/runs/{run_id:str}/output_items",
    tags=TAGS,
    summary="What came of a run's items",
    description="status: pass, fail or (an extension) error.",
    responses={200: ResponseSpec(EvalOutputItemList, description="A page, in the items' order."), **ERROR_SPECS},
)
async def list_output_items(
    request: AnyRequest,
    eval_id: FromPath[str],
    run_id: FromPath[str],
    after: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
    order: FromQuery[str | None] = None,
    status: FromQuery[str | None] = None,
) -> ASGIApp:
    check_names(request, (*PAGE, "status"))
    page = read_page(request, order="asc")
    if status is not None and status not in STATUSES:
        raise InvalidRequest(f"status is one of {', '.join(STATUSES)}.", param="status")
    run = await find_run(request, eval_id, run_id)
    place = None if page.after is None else position_of(run_id, page.after)
    if page.after is not None and place is None:
        raise InvalidRequest(f"after: the run has no output item {page.after[:100]!r}.", param="after")
    items, has_more = await store_of(request).eval_items.page(
        principal_of(request).key_id,
        run.id,
        after=place,
        limit=page.limit,
        order=page.order,
        status=STATUSES.get(status or ""),
    )
    data = [describe_item(eval_id, item) for item in items]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return json_response(request, EvalOutputItemList(data=data, first_id=first, last_id=last, has_more=has_more))


@get(
    "/v1/evals/{eval_id:str}/runs/{run_id:str}/output_items/{output_item_id:str}",
    tags=TAGS,
    summary="What came of one item",
    responses={200: ResponseSpec(EvalOutputItem, description="Its answer and grades."), **ERROR_SPECS},
)
async def get_output_item(
    request: AnyRequest, eval_id: FromPath[str], run_id: FromPath[str], output_item_id: FromPath[str]
) -> ASGIApp:
    run = await find_run(request, eval_id, run_id)
    place = position_of(run_id, output_item_id)
    items = store_of(request).eval_items
    found = None if place is None else await items.get(principal_of(request).key_id, run.id, place)
    if found is None:
        raise NotFound(
            f"The run {run_id!r} has no output item {output_item_id[:100]!r}, or has none yet.",
            param="output_item_id",
            code="output_item_not_found",
        )
    return json_response(request, describe_item(eval_id, found))


ITEM_HANDLERS = [list_output_items, get_output_item]
