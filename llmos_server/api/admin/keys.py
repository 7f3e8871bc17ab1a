"""/admin/v1/keys: create, list, revoke."""

from __future__ import annotations

import time

from litestar import delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp

from llmos_server.access.keys import id_of, make_key
from llmos_server.api.bodies import fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.responses import json_response
from llmos_server.api.schemas.admin import CreateKeyRequest, KeyInfo, KeyList
from llmos_server.api.services import store_of
from llmos_server.key_contracts import StoredKey


class CreateKeyBody(WireBody[CreateKeyRequest]):
    table = fields.CREATE_KEY


@post(
    "/admin/v1/keys",
    dto=CreateKeyBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Make a key; this answer alone shows it",
    responses={200: ResponseSpec(KeyInfo, description="The key.")},
)
async def create_key(request: AnyRequest, data: JSONBody[CreateKeyRequest]) -> ASGIApp:
    stored, text = make_key(
        data.name,
        int(time.time()),
        is_admin=data.is_admin,
        models=data.models,
        skills=data.skills,
        tools=data.tools,
        max_in_flight=data.max_in_flight,
        tokens_per_minute=data.tokens_per_minute,
    )
    await store_of(request).keys.add(stored)
    return json_response(request, describe_key(stored, text))


@get(
    "/admin/v1/keys",
    guards=[require_admin],
    tags=["Administration"],
    summary="All keys, revoked ones, too; never their secrets",
    responses={200: ResponseSpec(KeyList, description="Oldest first.")},
)
async def list_keys(request: AnyRequest) -> ASGIApp:
    return json_response(request, KeyList(data=[describe_key(key) for key in await store_of(request).keys.list()]))


@delete(
    "/admin/v1/keys/{key:str}",
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Revoke a key, by id, name or itself; the next request with it is refused",
    responses={200: ResponseSpec(KeyInfo, description="The key, revoked.")},
)
async def revoke_key(request: AnyRequest, key: FromPath[str]) -> ASGIApp:
    key = id_of(key)  # Whoever finds a key somewhere has the whole of it at hand.
    revoked = await store_of(request).keys.revoke(key, int(time.time())) if key.isprintable() else None
    if revoked is None:
        raise NotFound(f"No living key has the id or name {key!r}.", param="key", code="key_not_found")
    return json_response(request, describe_key(revoked))


def describe_key(key: StoredKey, text: str | None = None) -> KeyInfo:
    return KeyInfo(
        id=key.id,
        name=key.name,
        is_admin=key.is_admin,
        models=_list(key.models),
        skills=_list(key.skills),
        tools=_list(key.tools),
        max_in_flight=key.max_in_flight,
        tokens_per_minute=key.tokens_per_minute,
        created=key.created,
        revoked=key.revoked,
        last_used=key.last_used,
        key=text,
    )


def _list(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)
