"""/v1/evals: what models are measured by."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.types import ASGIApp

from llmos_server.api.agents.keeping import require_keeping
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.evals.describing import describe_eval, find_eval
from llmos_server.api.evals.fields import CREATE_EVAL, UPDATE_EVAL
from llmos_server.api.evals.means import open_means
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.evals import (
    CreateEvalRequest,
    CustomConfig,
    DataSourceConfig,
    DeletedEval,
    Eval,
    EvalList,
    LogsConfig,
    UpdateEvalRequest,
)
from llmos_server.api.services import store_of
from llmos_server.api.stored.query import PAGE, check_names, read_page
from llmos_server.chat.answer_check import check_schema
from llmos_server.chat.guarded import shared_guard
from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.graders.create import create_graders
from llmos_server.evaluation.stored import ITEM_SCHEMA

TAGS = ["Evals"]
ERROR_SPECS = {status: ERRORS[status] for status in (400, 404, 503)}
OK = {200: ResponseSpec(Eval, description="As it is kept."), **ERROR_SPECS}
SAMPLE_SCHEMA = {
    "type": "object",
    "properties": {"output_text": {"type": "string"}, "output_json": {}, "output_tools": {"type": "array"}},
    "required": ["output_text"],
}
ORDERS = ("created_at", "updated_at")


class CreateEvalBody(WireBody[CreateEvalRequest]):
    table = CREATE_EVAL


class UpdateEvalBody(WireBody[UpdateEvalRequest]):
    table = UPDATE_EVAL


@post(
    "/v1/evals",
    dto=CreateEvalBody,
    return_dto=None,
    tags=TAGS,
    summary="Say what is measured, and by what",
    responses={201: ResponseSpec(Eval, description="As it is kept."), **ERROR_SPECS},
)
async def create_eval(request: AnyRequest, data: JSONBody[CreateEvalRequest]) -> ASGIApp:
    require_keeping(request)
    async with open_means(request) as means:
        create_graders(data.testing_criteria, means)
    if isinstance(data.data_source_config, CustomConfig):
        item_schema = data.data_source_config.item_schema
        await shared_guard().in_thread(check_schema, item_schema, "data_source_config.item_schema")
    content = {
        "data_source_config": _to_config(data.data_source_config),
        "testing_criteria": msgspec.to_builtins(data.testing_criteria),
        "metadata": data.metadata or {},
    }
    name = data.name or "Eval"
    made = await store_of(request).evals.add(principal_of(request).key_id, name, content)
    return json_response(request, describe_eval(made), status=201)


@get(
    "/v1/evals",
    tags=TAGS,
    summary="Evals of this key",
    description="order: asc or desc, by order_by: created_at or updated_at.",
    responses={200: ResponseSpec(EvalList, description="A page, the oldest first unless order=desc."), **ERROR_SPECS},
)
async def list_evals(
    request: AnyRequest,
    after: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
    order: FromQuery[str | None] = None,
    order_by: FromQuery[str | None] = None,
) -> ASGIApp:
    check_names(request, (*PAGE, "order_by"))
    page = read_page(request, order="asc")
    by = order_by or "created_at"
    if by not in ORDERS:
        raise InvalidRequest(f"order_by is one of {', '.join(ORDERS)}.", param="order_by")
    found = await store_of(request).evals.page(
        principal_of(request).key_id,
        after=page.after,
        limit=page.limit,
        order=page.order,
        order_by="created_at" if by == "created_at" else "updated_at",
    )
    data = [describe_eval(one) for one in found.evals]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return json_response(request, EvalList(data=data, first_id=first, last_id=last, has_more=found.has_more))


@get("/v1/evals/{eval_id:str}", tags=TAGS, summary="An eval", responses=OK)
async def get_eval(request: AnyRequest, eval_id: FromPath[str]) -> ASGIApp:
    return json_response(request, describe_eval(await find_eval(request, eval_id)))


@post(
    "/v1/evals/{eval_id:str}",
    dto=UpdateEvalBody,
    return_dto=None,
    status_code=200,
    tags=TAGS,
    summary="Give an eval another name, or other metadata",
    responses=OK,
)
async def update_eval(request: AnyRequest, eval_id: FromPath[str], data: JSONBody[UpdateEvalRequest]) -> ASGIApp:
    await find_eval(request, eval_id)
    owner = principal_of(request).key_id
    changed = await store_of(request).evals.update(owner, eval_id, data.name, data.metadata)
    return json_response(request, describe_eval(changed or await find_eval(request, eval_id)))


@delete(
    "/v1/evals/{eval_id:str}",
    status_code=200,
    tags=TAGS,
    summary="Delete an eval with its runs; those that are under way end",
    responses={200: ResponseSpec(DeletedEval, description="It was there, and is no more."), **ERROR_SPECS},
)
async def delete_eval(request: AnyRequest, eval_id: FromPath[str]) -> ASGIApp:
    await find_eval(request, eval_id)
    store, owner = store_of(request), principal_of(request).key_id
    for run_id in await store.eval_runs.ids(owner, eval_id):
        await store.jobs.wish(owner, run_id, "cancel")
    await store.evals.delete(owner, eval_id)
    return json_response(request, DeletedEval(eval_id=eval_id))


def _to_config(config: DataSourceConfig) -> dict[str, Any]:
    """As OpenAI's tells it: the schema of a whole row."""
    if isinstance(config, LogsConfig):
        properties: dict[str, Any] = {"item": ITEM_SCHEMA, "sample": SAMPLE_SCHEMA}
        head: dict[str, Any] = {"type": "logs", "metadata": config.metadata or {}}
    else:
        properties = {"item": config.item_schema}
        head = {"type": "custom"}
        if config.include_sample_schema:
            properties["sample"] = SAMPLE_SCHEMA
    return {**head, "schema": {"type": "object", "properties": properties, "required": list(properties)}}


EVAL_HANDLERS = [create_eval, list_evals, get_eval, update_eval, delete_eval]
