"""POST /v1/responses/input_tokens: how long a response's prompt would be."""

from __future__ import annotations

import msgspec
from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.agents.toolbox import Toolbox
from llmos_server.api.agents.looping import with_tools
from llmos_server.api.agents.renaming import renamed
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.chats.prompt_size import count_prompt
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.responding.fields import INPUT_TOKENS
from llmos_server.api.responding.preparing import Prepared, prepare
from llmos_server.api.responding.toolset import choose
from llmos_server.api.schemas.responses import InputTokens, ResponseRequest
from llmos_server.api.services import services_of
from llmos_server.errors import InvalidRequest


class InputTokensBody(WireBody[ResponseRequest]):
    table = INPUT_TOKENS


@post(
    "/v1/responses/input_tokens",
    dto=InputTokensBody,
    return_dto=None,
    status_code=200,
    tags=["Responses"],
    summary="How many tokens a response's input has as a prompt",
    description="With all that it goes on from, and its tools; also when that is more than fits.",
    responses={200: ResponseSpec(InputTokens, description="The number; nothing runs."), **ERRORS},
)
async def count_input_tokens(request: AnyRequest, data: JSONBody[ResponseRequest]) -> ASGIApp:
    prepared = await prepare(request, data)
    number = await run_until_disconnect(request.receive, _count(request, prepared))
    return json_response(request, InputTokens(input_tokens=number))


async def _count(request: AnyRequest, prepared: Prepared) -> int:
    toolset = prepared.toolset
    toolbox = Toolbox(toolset.sources)
    try:
        await toolbox.open(toolset.functions, services_of(request).settings.max_tools)
        choice = choose(prepared.data.tool_choice, toolset, toolbox)
        chat = msgspec.structs.replace(prepared.chat, tools=toolset.definitions, tool_choice=choice)
        return await count_prompt(request, with_tools(chat, toolbox))
    except InvalidRequest as error:
        raise renamed(error, messages=prepared.history.places, tools=toolset.places) from None
    finally:
        await toolbox.close()
