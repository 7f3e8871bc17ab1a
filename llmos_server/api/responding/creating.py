"""POST /v1/responses."""

from __future__ import annotations

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.api.bodies.body import WireBody
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.responding.background import shielded, start_in_background
from llmos_server.api.responding.fields import RESPONSE
from llmos_server.api.responding.preparing import prepare
from llmos_server.api.responding.run import ResponseRun
from llmos_server.api.responding.stream import open_response_stream
from llmos_server.api.schemas.responses import Response, ResponseRequest


class ResponseBody(WireBody[ResponseRequest]):
    table = RESPONSE


@post(
    "/v1/responses",
    dto=ResponseBody,
    return_dto=None,
    status_code=200,
    tags=["Responses"],
    summary="Answer, with tools of the server's where they are asked for",
    description="With stream: true, server-sent events of OpenAI's types, the last one response.completed, "
    "response.incomplete or response.failed.",
    responses={200: ResponseSpec(Response, description="The whole response."), **ERRORS},
)
async def create_response(request: AnyRequest, data: JSONBody[ResponseRequest]) -> ASGIApp:
    prepared = await prepare(request, data)
    run = ResponseRun(request, prepared)
    if data.background:
        await start_in_background(run, prepared)
        return await open_response_stream(run, outlives=True) if data.stream else json_response(request, run.response)
    if data.stream:
        run.start()
        return await open_response_stream(run)
    await run_until_disconnect(request.receive, shielded(run))
    return json_response(request, run.result())
