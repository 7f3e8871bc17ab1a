"""POST /admin/v1/models/attention: which token of a prompt looks at which, in one layer and head."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.api.bodies import fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.bodies.unknown_fields import tell_unread_variables
from llmos_server.api.chats.prompt import encode_prompt
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import find_model, require_admin
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.admin_inspection import AttentionAnswer, AttentionRequest
from llmos_server.api.served import ServedModel
from llmos_server.api.services import model_admin_of, services_of
from llmos_server.contracts import ModelVersion
from llmos_server.errors import EngineFailed, InvalidRequest, ModelNotFound
from llmos_server.registry.shape import read_config, shape_of

MAX_TOKENS = 512
"""A map is the square of that, in numbers."""
NUM_DIGITS = 7


class AttentionBody(WireBody[AttentionRequest]):
    table = fields.ATTENTION


@post(
    "/admin/v1/models/attention",
    dto=AttentionBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="A prompt's attention in one layer and head",
    description="Computed in exact float32 by a process of its own, one at a time: what is being served goes on.",
    responses={200: ResponseSpec(AttentionAnswer, description="Rows are queries, columns keys."), **ERRORS},
)
async def prompt_attention(request: AnyRequest, data: JSONBody[AttentionRequest]) -> ASGIApp:
    services = services_of(request)
    read = model_admin_of(request).read_attention
    if read is None:
        raise EngineFailed("This server can't compute attention.")
    served = await find_model(request, data.model)
    version = _require_version(served)
    tell_unread_variables(request, served, data.chat_template_kwargs)
    shape = shape_of(read_config(version.folder))
    layer, head = data.layer or 0, data.head
    _check_place("layer", layer, shape.get("num_layers"))
    _check_place("head", head, shape.get("num_heads"))

    async def work() -> AttentionAnswer:
        ids = await encode_prompt(services, served, data)
        _check_length(ids, version, "messages" if data.prompt is None else "prompt")
        maps = await read(version, ids, layer)
        _check_place("head", head, maps.shape[0])
        return AttentionAnswer(
            model=served.id,
            tokens=[served.renderer.token_text(token) for token in ids],
            token_ids=ids,
            layer=layer,
            head=head,
            num_layers=shape.get("num_layers"),
            num_heads=maps.shape[0],
            weights=await asyncio.to_thread(_rows, maps, head),
        )

    return json_response(request, await run_until_disconnect(request.receive, work()))


def _require_version(served: ServedModel) -> ModelVersion:
    version = served.version
    if version is None:
        raise ModelNotFound(f"The files of {served.id!r} aren't known here.")
    if version.code:
        raise InvalidRequest(
            f"{served.id} is computed by Python code of its own, whose attention isn't looked at.",
            param="model",
            code="unsupported_value",
        )
    return version


def _check_place(name: str, place: int | None, count: int | None) -> None:
    if place is not None and count is not None and place >= count:
        raise InvalidRequest(
            f"{name}: the model has {name}s 0 to {count - 1}, not {place}.", param=name, code="invalid_value"
        )


def _check_length(ids: Sequence[int], version: ModelVersion, param: str) -> None:
    limit = min(MAX_TOKENS, version.context_length)
    if not ids:
        raise InvalidRequest(f"{param}: it has no tokens.", param=param, code="invalid_value")
    if len(ids) > limit:
        raise InvalidRequest(
            f"{param}: it has {len(ids)} tokens, and attention is shown of at most {limit}. Shorten it.",
            param=param,
            code="context_length_exceeded",
        )


def _rows(maps: npt.NDArray[np.float32], head: int | None) -> list[list[float]]:
    """Of one head, or the mean over all."""
    chosen = maps.mean(axis=0) if head is None else maps[head]
    rows: list[list[float]] = np.round(chosen.astype(np.float64), NUM_DIGITS).tolist()
    return rows
