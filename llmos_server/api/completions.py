"""POST /v1/completions."""

from __future__ import annotations

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.api import fields
from llmos_server.api.answers import Answer
from llmos_server.api.body import WireBody
from llmos_server.api.completion_frames import CompletionFrames, to_completion
from llmos_server.api.completion_start import start_completion
from llmos_server.api.responses import ERRORS, json_response
from llmos_server.api.schemas.completions import Completion, CompletionRequest
from llmos_server.api.starting import AnyRequest, collect, open_stream


class CompletionBody(WireBody[CompletionRequest]):
    table = fields.COMPLETION


@post(
    "/v1/completions",
    dto=CompletionBody,
    return_dto=None,
    status_code=200,
    tags=["Generation"],
    summary="Continue text",
    description="With stream: true, server-sent events: objects of the same shape, then [DONE].",
    responses={200: ResponseSpec(Completion, description="The whole answer."), **ERRORS},
)
async def create_completion(request: AnyRequest, data: JSONBody[CompletionRequest]) -> ASGIApp:
    start, data, prompts = await start_completion(request, data)

    def make_frames(answer: Answer) -> CompletionFrames:
        return CompletionFrames(answer, data, prompts)

    if data.stream:
        return await open_stream(request, start, make_frames)
    answer, texts = await collect(request, start)
    return json_response(request, to_completion(answer, texts, data, prompts))
