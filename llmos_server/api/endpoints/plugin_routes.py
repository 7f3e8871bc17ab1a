"""/v1/llmos/plugins/{plugin}/{path}: URLs that plugins bring. Their code runs in threads, with a deadline."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
from litestar import MediaType, Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from litestar.types import ASGIApp

from llmos_server.api.bodies.body import require_json
from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of, require_admin
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import ERRORS
from llmos_server.api.schemas.common import ErrorResponse
from llmos_server.api.services import services_of
from llmos_server.errors import PluginFailed
from llmos_server.plugins.failures import FailureKind
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.loading import Offer
from llmos_server.plugins.offers import RouteAnswer, RouteRequest

HOOK = "register_routes"
RESPONSES = {200: ResponseSpec(Any, description="What the plugin answers."), **ERRORS}


@get(
    "/v1/llmos/plugins/{plugin:str}/{path:path}",
    tags=["Plugins"],
    summary="Ask a plugin",
    responses=RESPONSES,
)
async def get_from_plugin(request: AnyRequest, plugin: FromPath[str], path: FromPath[str]) -> ASGIApp:
    return await _answer(request, str(plugin), str(path), b"")


@post(
    "/v1/llmos/plugins/{plugin:str}/{path:path}",
    status_code=200,
    tags=["Plugins"],
    summary="Send JSON to a plugin",
    responses={
        **RESPONSES,
        408: ResponseSpec(ErrorResponse, description="The body did not come in time."),
        413: ResponseSpec(ErrorResponse, description="The body is too large."),
        415: ResponseSpec(ErrorResponse, description="The body is not declared as JSON."),
    },
)
async def post_to_plugin(request: AnyRequest, plugin: FromPath[str], path: FromPath[str]) -> ASGIApp:
    require_json(request.headers.get("content-type", ""))
    return await _answer(request, str(plugin), str(path), await request.body())


async def _answer(request: AnyRequest, plugin: str, path: str, body: bytes) -> ASGIApp:
    host = services_of(request).plugins
    offer = _find(host, plugin, f"{request.method} {path.strip('/')}")
    if offer.value.needs_admin:
        await require_admin(request, request.route_handler)
    asked = RouteRequest(query=dict(request.query_params), body=body, key_id=principal_of(request).key_id)
    answer, content = await run_until_disconnect(request.receive, _call(host, offer, asked))
    response: Response[bytes] = Response(content, media_type=MediaType.JSON, status_code=answer.status)
    return response.to_asgi_response(app=None, request=request)


def _find(host: PluginHost, plugin: str, name: str) -> Offer:
    offers = [offer for offer in host.offers(HOOK) if offer.plugin == plugin]
    for offer in offers:
        if offer.name == name:
            return offer
    known = ", ".join(offer.name for offer in offers) or "none"
    raise NotFound(f"The plugin {plugin[:100]!r} has no {name[:100]!r}; it has: {known}.", code="unknown_url")


async def _call(host: PluginHost, offer: Offer, asked: RouteRequest) -> tuple[RouteAnswer, bytes]:
    switch = host.failures.switch(offer.plugin, HOOK, offer.name)
    threads = host.threads_of(offer.plugin)
    if not switch.admits() or threads.is_exhausted:
        retry = max(switch.retry_after, 1.0)
        raise PluginFailed(f"{_label(offer)} failed too often and is switched off. Try later.", retry_after=retry)
    seconds = offer.value.deadline_seconds
    try:
        answer, content = await threads.call(functools.partial(_run, offer.value.handle, asked), seconds)
    except TimeoutError as error:
        raise _failed(host, offer, "timeout", f"took longer than its {seconds:g} s", error) from None
    except InvalidAnswer as error:
        raise _failed(host, offer, "invalid", f"answered what it may not: {error}", error) from None
    except Exception as error:
        raise _failed(host, offer, "raised", f"failed ({type(error).__name__})", error) from None
    switch.succeeded()
    return answer, content


class InvalidAnswer(Exception):
    """A route returned what can't be sent."""


def _run(handle: Any, asked: RouteRequest) -> tuple[RouteAnswer, bytes]:
    answer = handle(asked)
    if not isinstance(answer, RouteAnswer):
        raise InvalidAnswer(f"a {type(answer).__name__} instead of a RouteAnswer")
    if not (200 <= answer.status <= 299 or 400 <= answer.status <= 499):
        raise InvalidAnswer(f"the status {answer.status}")
    try:
        return answer, msgspec.json.encode(answer.content)
    except TypeError as error:
        raise InvalidAnswer(str(error)) from None


def _failed(host: PluginHost, offer: Offer, kind: FailureKind, what: str, error: Exception) -> PluginFailed:
    host.failures.note(offer.plugin, HOOK, offer.name, kind, error)
    host.failures.switch(offer.plugin, HOOK, offer.name).failed()
    return PluginFailed(f"{_label(offer)} {what}.")


def _label(offer: Offer) -> str:
    return f"{offer.name} of the plugin {offer.plugin}"
