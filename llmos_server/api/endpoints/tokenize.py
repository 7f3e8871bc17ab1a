"""POST /tokenize and /detokenize, in vLLM's shapes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.api.accounting.visits import take_place
from llmos_server.api.bodies import fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.bodies.unknown_fields import tell_unread_variables
from llmos_server.api.chats.prompt import encode_prompt
from llmos_server.api.generation.sampling import check_ids
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import find_model
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.tokenize import (
    DetokenizeRequest,
    DetokenizeResponse,
    TokenizeRequest,
    TokenizeResponse,
)
from llmos_server.api.services import services_of

T = TypeVar("T")

_ERRORS = {status: ERRORS[status] for status in (400, 404, 429)}


class TokenizeBody(WireBody[TokenizeRequest]):
    table = fields.TOKENIZE


class DetokenizeBody(WireBody[DetokenizeRequest]):
    table = fields.DETOKENIZE


@post(
    "/tokenize",
    dto=TokenizeBody,
    return_dto=None,
    status_code=200,
    tags=["Tokens"],
    summary="Text or messages to token ids",
    responses={200: ResponseSpec(TokenizeResponse, description="The ids."), **_ERRORS},
)
async def tokenize(request: AnyRequest, data: JSONBody[TokenizeRequest]) -> ASGIApp:
    services = services_of(request)
    served = await find_model(request, data.model)
    tell_unread_variables(request, served, data.chat_template_kwargs)

    async def work() -> TokenizeResponse:
        ids = await encode_prompt(services, served, data)
        texts = None
        if data.return_token_strs:
            texts = await services.pool.run(len(ids), lambda: list(map(served.renderer.token_text, ids)))
        return TokenizeResponse(count=len(ids), max_model_len=served.max_model_len, tokens=ids, token_strs=texts)

    return json_response(request, await _in_place(request, work))


@post(
    "/detokenize",
    dto=DetokenizeBody,
    return_dto=None,
    status_code=200,
    tags=["Tokens"],
    summary="Token ids to text, special tokens included",
    responses={200: ResponseSpec(DetokenizeResponse, description="The text."), **_ERRORS},
)
async def detokenize(request: AnyRequest, data: JSONBody[DetokenizeRequest]) -> ASGIApp:
    services = services_of(request)
    renderer = (await find_model(request, data.model)).renderer
    ids = check_ids(data.tokens, renderer.vocab_size, "tokens")

    async def work() -> DetokenizeResponse:
        text = await services.pool.run(len(ids), lambda: renderer.decode(ids, skip_special_tokens=False))
        return DetokenizeResponse(prompt=text)

    return json_response(request, await _in_place(request, work))


async def _in_place(request: AnyRequest, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Among the key's requests in flight, as long as the client is there."""
    with take_place(request):
        return await run_until_disconnect(request.receive, work())
