"""/v1/llmos/feedback: what users say about answers, for whoever runs this server and tunes its models."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.types import ASGIApp

from llmos_server.api.agents.keeping import require_keeping
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import find_model, principal_of
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.feedback import CreateFeedbackRequest, DeletedFeedback, Feedback, FeedbackList
from llmos_server.api.services import store_of
from llmos_server.api.stored.fields import CREATE_FEEDBACK
from llmos_server.api.stored.query import PAGE, check_names, read_page
from llmos_server.errors import Forbidden, InvalidRequest, ModelNotFound
from llmos_server.store.feedback import StoredFeedback
from llmos_server.store.owners import EVERYBODY, Owner

_TAGS = ["Feedback"]
_ERRORS = {status: ERRORS[status] for status in (400, 404, 503)}
_OK = {200: ResponseSpec(Feedback, description="As it is kept."), **_ERRORS}
_RATINGS = {"-1": -1, "0": 0, "1": 1}


class FeedbackBody(WireBody[CreateFeedbackRequest]):
    table = CREATE_FEEDBACK


@post(
    "/v1/llmos/feedback",
    dto=FeedbackBody,
    return_dto=None,
    status_code=200,
    tags=_TAGS,
    summary="Rate, correct or comment on an answer",
    description="The messages and the answer are kept with it. Administrators of this server can read it.",
    responses=_OK,
)
async def create_feedback(request: AnyRequest, data: JSONBody[CreateFeedbackRequest]) -> ASGIApp:
    require_keeping(request)
    if data.rating is None and data.correction is None and data.comment is None and not data.tags:
        raise InvalidRequest(
            "This says nothing about the answer. Send a rating (-1, 0 or 1), a correction, a comment or tags.",
            param="rating",
            code="missing_required_parameter",
        )
    content: dict[str, Any] = _without_nulls(msgspec.to_builtins(data))
    if (digest := await _find_digest(request, data.model)) is not None:
        content["model_digest"] = digest
    owner = principal_of(request).key_id
    return json_response(
        request, _describe(await store_of(request).feedback.add(owner, data.model, data.rating, content))
    )


@get(
    "/v1/llmos/feedback",
    tags=_TAGS,
    summary="The feedback that this key has given, a page at a time; for administrators everybody's",
    responses={200: ResponseSpec(FeedbackList, description="A page, the newest first."), **_ERRORS},
)
async def list_feedback(
    request: AnyRequest,
    after: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
    order: FromQuery[str | None] = None,
    model: FromQuery[str | None] = None,
    rating: FromQuery[str | None] = None,
    key: FromQuery[str | None] = None,
) -> ASGIApp:
    check_names(request, (*PAGE, "model", "rating", "key"))
    page = read_page(request)
    if rating is not None and rating not in _RATINGS:
        raise InvalidRequest("rating is -1, 0 or 1.", param="rating")
    for name, text in (("model", model), ("key", key)):
        if text and not text.isprintable():
            raise InvalidRequest(f"{name} can't hold such characters.", param=name)
    found = await store_of(request).feedback.list(
        _whose(request, key),
        after=page.after,
        limit=page.limit,
        order=page.order,
        model=model,
        rating=None if rating is None else _RATINGS[rating],
    )
    if found is None:
        raise InvalidRequest(f"after: there is no feedback {page.after!r}.", param="after")
    data = [_describe(row) for row in found.rows]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return json_response(request, FeedbackList(data=data, first_id=first, last_id=last, has_more=found.has_more))


@get("/v1/llmos/feedback/{feedback_id:str}", tags=_TAGS, summary="One feedback", responses=_OK)
async def get_feedback(request: AnyRequest, feedback_id: FromPath[str]) -> ASGIApp:
    found = await store_of(request).feedback.get(_whose(request), feedback_id)
    if found is None:
        raise _missing(feedback_id)
    return json_response(request, _describe(found))


@delete(
    "/v1/llmos/feedback/{feedback_id:str}",
    status_code=200,
    tags=_TAGS,
    summary="Take a feedback back",
    responses={200: ResponseSpec(DeletedFeedback, description="It was there, and is no more."), **_ERRORS},
)
async def delete_feedback(request: AnyRequest, feedback_id: FromPath[str]) -> ASGIApp:
    if not await store_of(request).feedback.delete(_whose(request), feedback_id):
        raise _missing(feedback_id)
    return json_response(request, DeletedFeedback(id=feedback_id))


def _whose(request: AnyRequest, key: str | None = None) -> Owner:
    """key: the one that is asked for. Raises Forbidden for another's, unless an administrator asks."""
    principal = principal_of(request)
    if principal.is_admin:
        return EVERYBODY if key is None else key
    if key not in (None, principal.key_id):
        raise Forbidden(
            "Only an administrator may see the feedback of another key.", param="key", code="admin_required"
        )
    return principal.key_id


async def _find_digest(request: AnyRequest, model: str) -> str | None:
    """None where no such model is served to this key. The answer may be older than these weights."""
    try:
        served = await find_model(request, model)
    except (ModelNotFound, Forbidden):
        return None
    info = served.engine.info
    return served.version.digest if served.version is not None else info.model_digest if info is not None else None


def _without_nulls(value: Any) -> Any:
    """Of structs' fields that weren't sent."""
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _describe(row: StoredFeedback) -> Feedback:
    return msgspec.convert({**row.content, "id": row.id, "created_at": row.created // 1000, "key": row.owner}, Feedback)


def _missing(feedback_id: str) -> NotFound:
    return NotFound(
        f"No feedback of yours has the id {feedback_id[:100]!r}.", param="feedback_id", code="feedback_not_found"
    )
