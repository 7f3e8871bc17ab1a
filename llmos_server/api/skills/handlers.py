"""POST /v1/skills/{name}/run, and what skills there are: /v1/llmos/skills. OpenAI's own /v1/skills stays free."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp

from llmos_server.api.errors import WireError
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.event_stream import named_frame
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.skills import (
    SkillDetails,
    SkillEvent,
    SkillList,
    SkillResult,
    SkillRunBody,
    SkillRunRequest,
)
from llmos_server.api.skills.access import find_skill, list_skills
from llmos_server.api.skills.describing import describe_skill
from llmos_server.api.skills.input import SkillBody, read_input
from llmos_server.api.skills.run import create_run
from llmos_server.api.skills.stream import open_run_stream
from llmos_server.skills.forms import input_schema, output_schema, to_tool
from llmos_server.skills.skill import Skill


@post(
    "/v1/skills/{name:str}/run",
    dto=SkillBody,
    return_dto=None,
    status_code=200,
    tags=["Skills"],
    summary="Run a skill",
    description="The body holds the fields of the skill's input. With stream: true, server-sent events: progress, text "
    "and result, then [DONE].",
    responses={200: ResponseSpec(SkillResult, description="What the skill made of it."), **ERRORS},
)
async def run_skill(request: AnyRequest, name: FromPath[str], data: JSONBody[SkillRunRequest]) -> ASGIApp:
    assert isinstance(data, SkillRunBody)
    offer = find_skill(request, str(name))
    run = await create_run(request, offer, data.model, read_input(request, offer.value, data.input))
    if data.stream:
        return await open_run_stream(run, EventFrames())
    return json_response(request, await run_until_disconnect(request.receive, run.run()))


@get(
    "/v1/llmos/skills",
    tags=["Skills"],
    summary="List the skills",
    responses={200: ResponseSpec(SkillList, description="In the order of loading.")},
)
async def get_skills(request: AnyRequest) -> ASGIApp:
    return json_response(request, SkillList(data=list(map(describe_skill, list_skills(request)))))


@get(
    "/v1/llmos/skills/{name:str}",
    tags=["Skills"],
    summary="One skill: what it takes, what it answers, and how a model may call it",
    responses={200: ResponseSpec(SkillDetails, description="The skill."), 404: ERRORS[404]},
)
async def get_skill(request: AnyRequest, name: FromPath[str]) -> ASGIApp:
    offer = find_skill(request, str(name))
    skill: Skill[Any, Any] = offer.value
    return json_response(
        request,
        SkillDetails(
            **msgspec.structs.asdict(describe_skill(offer)),
            input_schema=input_schema(skill),
            output_schema=output_schema(skill),
            chat_defaults=dict(skill.chat_defaults),
            tool=to_tool(skill),
        ),
    )


class EventFrames:
    """RunFrames of /v1/skills/{name}/run: the type is told both in `event:` and in the data."""

    def event(self, event: SkillEvent) -> bytes:
        return named_frame(event.type, msgspec.json.encode(event))

    def result(self, result: SkillResult, written: str) -> bytes:
        return self.event(SkillEvent(type="result", result=result))

    def error(self, wire: WireError) -> bytes:
        return named_frame("error", wire.body())
