"""/admin/v1/prune: stored objects that are too old, or of one key, are removed now."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import structlog
from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp
from msgspec import Meta, Struct

from llmos_server.api.bodies import fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.responses import json_response
from llmos_server.api.services import store_of
from llmos_server.errors import InvalidRequest
from llmos_server.store.pruning import Pruned, Wanted, prune

log = structlog.get_logger(__name__)


class PruneRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    kinds: (
        Annotated[
            list[Literal["responses", "conversations", "feedback", "files", "jobs", "evals", "adapters"]],
            Meta(max_length=7),
        ]
        | None
    ) = None
    older_than: str | None = None
    key: str | None = None
    dry_run: bool | None = None


class PruneBody(WireBody[PruneRequest]):
    table = fields.PRUNE


@post(
    "/admin/v1/prune",
    dto=PruneBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Remove what is stored: responses, conversations, feedback, files, jobs, evals",
    description="Without key and older_than: what is older than the settings keep it.",
    responses={200: ResponseSpec(Pruned, description="How much was removed, or would be.")},
)
async def prune_objects(request: AnyRequest, data: JSONBody[PruneRequest]) -> ASGIApp:
    if data.key is not None and not (data.key.isprintable() and len(data.key) <= 64):
        raise InvalidRequest("key is the id or the name of a key.", param="key")
    wanted = Wanted(
        kinds=tuple(dict.fromkeys(data.kinds or ())),
        older_than=data.older_than,
        key=data.key,
        dry_run=data.dry_run is True,
    )
    done = await prune(store_of(request), wanted, time.time())
    if not done.dry_run:
        log.info("pruned", **{removed.kind: removed.num_objects for removed in done.data})
    return json_response(request, done)
