"""/admin/v1/keys: create, list, change, revoke."""

from __future__ import annotations

import time

from litestar import delete, get, patch, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp
from msgspec import UNSET

from llmos_server.access import keys
from llmos_server.api.bodies import fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.admin import ChangeKeyRequest, CreateKeyRequest, KeyInfo, KeyList
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
    stored, text = keys.make_key(
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


class ChangeKeyBody(WireBody[ChangeKeyRequest]):
    table = fields.CHANGE_KEY
    keeps_null = True


@get(
    "/admin/v1/keys",
    guards=[require_admin],
    tags=["Administration"],
    summary="All keys, revoked ones, too; never their secrets",
    responses={200: ResponseSpec(KeyList, description="Oldest first.")},
)
async def list_keys(request: AnyRequest) -> ASGIApp:
    return json_response(request, KeyList(data=[describe_key(key) for key in await store_of(request).keys.list()]))


@patch(
    "/admin/v1/keys/{key:str}",
    dto=ChangeKeyBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Change a key's name and limits, by id or name; they hold from its next request on",
    responses={200: ResponseSpec(KeyInfo, description="The key, changed."), **{s: ERRORS[s] for s in (400, 404)}},
)
async def change_key(request: AnyRequest, key: FromPath[str], data: JSONBody[ChangeKeyRequest]) -> ASGIApp:
    given = {name: getattr(data, name) for name in data.__struct_fields__}
    changes = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if value is not UNSET
    }
    repository = store_of(request).keys
    called = keys.id_of(key)
    found = await repository.find_living(called) if called.isprintable() else None
    changed = await repository.change(found.id, lambda stored: keys.change_key(stored, changes)) if found else None
    if changed is None:
        raise _missing(key)
    return json_response(request, describe_key(changed))


@delete(
    "/admin/v1/keys/{key:str}",
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Revoke a key, by id, name or itself; the next request with it is refused",
    responses={200: ResponseSpec(KeyInfo, description="The key, revoked.")},
)
async def revoke_key(request: AnyRequest, key: FromPath[str]) -> ASGIApp:
    key = keys.id_of(key)  # Whoever finds a key somewhere has the whole of it at hand.
    revoked = await store_of(request).keys.revoke(key, int(time.time())) if key.isprintable() else None
    if revoked is None:
        raise _missing(key)
    return json_response(request, describe_key(revoked))


def _missing(key: str) -> NotFound:
    shown = keys.id_of(key)
    return NotFound(f"No living key has the id or name {shown!r}.", param="key", code="key_not_found")


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
