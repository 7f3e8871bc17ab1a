"""POST /v1/completions."""

from __future__ import annotations

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.api.bodies import fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.completions.frames import CompletionFrames, to_completion
from llmos_server.api.completions.start import start_completion
from llmos_server.api.generation.answers import Answer
from llmos_server.api.generation.starting import AnyRequest, collect, open_stream
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.completions import Completion, CompletionRequest


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
