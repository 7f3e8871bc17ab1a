"""Who sends a request, and what they may do: Litestar's guards over access/gate.py."""

from __future__ import annotations

import ipaddress
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from llmos_server.api.adapters.names import find_chosen, find_served
from llmos_server.api.flights import flight_of
from llmos_server.api.http.context import note_key
from llmos_server.api.served import ListedModel, ServedModel
from llmos_server.api.services import services_of
from llmos_server.errors import Forbidden, ModelNotFound
from llmos_server.key_contracts import NOBODY, Principal

PUBLIC = {"public": True}
"""A handler with these options is answered without a key."""

Connection = ASGIConnection[Any, Any, Any, Any]

_STATE_KEY = "llmos_principal"


async def identify(connection: Connection, handler: BaseRouteHandler) -> None:
    """The guard before every handler. Raises Unauthorized."""
    if handler.opt.get("public"):
        return
    principal = await services_of(connection).gate.identify(_presented(connection), is_local=_is_local(connection))
    connection.scope["state"][_STATE_KEY] = principal
    note_key(connection, principal.key_id)
    flight_of(connection).key = principal.name


async def require_admin(connection: Connection, _: BaseRouteHandler) -> None:
    """The guard before what only administrators may do, also on a server that asks nobody for a key."""
    if not principal_of(connection).is_admin:
        raise Forbidden(
            "Only an administrator may do this. Send a key with the scope admin (llmos keys create NAME --admin) or, "
            "on the server's own machine, the content of LLMOS_HOME/admin.token, as 'Authorization: Bearer ...'.",
            code="admin_required",
        )


def principal_of(connection: Any) -> Principal:
    """Of a request whose handler is not public."""
    principal: Principal = connection.scope["state"].get(_STATE_KEY, NOBODY)
    return principal


def may_use(connection: Any, served: ListedModel) -> bool:
    """Whether the key's list, if it has one, holds the model's name or an alias of it; of an adapter, or its base's."""
    models = principal_of(connection).models
    if models is None or served.id in models or (served.promoted_as and served.promoted_as in models):
        return True
    base = served.id if served.adapter is None else served.adapter.base
    return base in models or any(alias in models for alias in services_of(connection).directory.aliases_of(base))


def may_run_skill(connection: Any, name: str) -> bool:
    skills = principal_of(connection).skills
    return skills is None or name in skills


def require_skill(connection: Any, name: str, *, param: str | None = None) -> None:
    """Raises Forbidden for a skill that this key may not run. param: the request's field that named it."""
    if not may_run_skill(connection, name):
        allowed = ", ".join(principal_of(connection).skills or ())
        raise Forbidden(
            f"This key may not run the skill {name!r}; it may run: {allowed}.", param=param, code="skill_not_allowed"
        )


def may_run_tool(connection: Any, *names: str) -> bool:
    """Of the tools that the server runs, beside skills. names: any of them, in the key's list, allows it."""
    tools = principal_of(connection).tools
    return tools is None or any(name in tools for name in names)


def require_tool(connection: Any, name: str, *, param: str | None = None) -> None:
    """Raises Forbidden for a tool of the server's that this key may not have run."""
    if not may_run_tool(connection, name):
        allowed = ", ".join(principal_of(connection).tools or ()) or "none"
        raise Forbidden(
            f"This key may not run the tool {name!r}; it may run: {allowed}.", param=param, code="tool_not_allowed"
        )


async def find_model(connection: Any, name: str | None, adapter: str | None = None) -> ServedModel:
    """None is the default model. adapter: of that model, where a request names it apart. Raises ModelNotFound, or
    Forbidden for a model that this key may not use; of an adapter that isn't the model's, InvalidRequest.

    A key for some models is told of those alone, as /v1/models does.
    """
    principal, services = principal_of(connection), services_of(connection)
    models = principal.models
    try:
        if adapter is None:
            served = await find_served(services, name, principal.key_id)
        else:
            served = await find_chosen(services, name, adapter, principal.key_id)
    except ModelNotFound:
        if models is None:
            raise
        wanted = "default model" if name is None else f"model {name!r}"
        raise ModelNotFound(f"The {wanted} isn't served here. This key may use: {', '.join(models)}.") from None
    if not may_use(connection, served):
        raise Forbidden(
            f"This key may not use the model {served.id!r}; it may use: {', '.join(models or ())}.",
            param="model",
            code="model_not_allowed",
        )
    flight_of(connection).model = served.id
    return served


def _presented(connection: Connection) -> list[str]:
    """Where OpenAI's, Anthropic's and Azure's clients put their keys."""
    headers = connection.headers
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    found = [credentials.strip()] if scheme.lower() == "bearer" else []
    return [*found, *(headers[name].strip() for name in ("x-api-key", "api-key") if name in headers)]


def _is_local(connection: Connection) -> bool:
    """uvicorn puts the address that a proxy on this machine tells in X-Forwarded-For here."""
    client = connection.client
    try:
        return client is not None and ipaddress.ip_address(client.host).is_loopback
    except ValueError:
        return False
