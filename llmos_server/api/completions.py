"""POST /v1/completions."""

from __future__ import annotations

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.api import fields
from llmos_server.api.access import find_model
from llmos_server.api.answers import Answer
from llmos_server.api.body import WireBody
from llmos_server.api.completion_frames import CompletionFrames, to_completion
from llmos_server.api.completion_plan import check_best_of, plan_completion, read_prompts
from llmos_server.api.filtered_chats import filter_request
from llmos_server.api.plans import Plan
from llmos_server.api.responses import ERRORS, json_response
from llmos_server.api.sampling import check_stream_options
from llmos_server.api.schemas.completions import Completion, CompletionRequest
from llmos_server.api.services import services_of
from llmos_server.api.starting import AnyRequest, collect, create_start, open_stream
from llmos_server.contracts import EngineInfo


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
    services = services_of(request)
    check_stream_options(data)
    data, guard = await filter_request(request, data, "completions")
    served = await find_model(request, data.model)
    check_best_of(data, services.settings.max_n)
    prompts = read_prompts(data, services.settings.max_prompts)

    async def make_plan(info: EngineInfo) -> Plan:
        return await plan_completion(services, served, data, prompts, info)

    def make_frames(answer: Answer) -> CompletionFrames:
        return CompletionFrames(answer, data, prompts)

    start = create_start(request, services, served, make_plan, guard)
    if data.stream:
        return await open_stream(request, start, make_frames)
    answer, texts = await collect(request, start)
    return json_response(request, to_completion(answer, texts, data, prompts))
