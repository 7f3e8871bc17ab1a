"""A skill as a tool of MCP's: the same run, under the same key, as POST /v1/skills/{name}/run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import mcp.types as types
import msgspec

from llmos_server.api.errors import describe, report
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.disconnect import cancel_and_wait
from llmos_server.api.schemas.skills import SkillResult
from llmos_server.api.skills.input import read_input
from llmos_server.api.skills.run import SkillRun, create_run
from llmos_server.errors import InvalidRequest
from llmos_server.plugins.loading import Offer
from llmos_server.skills.forms import input_schema, output_schema
from llmos_server.skills.skill import Skill

MODEL = {
    "type": "string",
    "description": "The model that does it; the skill's own, or the server's default, if absent.",
}

TellProgress = Callable[[float, float | None, str | None], Awaitable[None]]


def describe_skill(offer: Offer) -> types.Tool:
    skill: Skill[Any, Any] = offer.value
    takes = input_schema(skill)
    return types.Tool(
        name=skill.name,
        description=skill.description,
        input_schema={
            **takes,
            "properties": {**takes.get("properties", {}), "model": MODEL},
            "additionalProperties": False,
        },
        output_schema=output_schema(skill),
    )


async def call_skill(
    request: AnyRequest, offer: Offer, arguments: dict[str, Any], tell: TellProgress
) -> types.CallToolResult:
    """What goes wrong is a result, too, for the model to read."""
    try:
        run = await _create_run(request, offer, arguments)
        result = await _run(run, tell)
    except Exception as error:
        wire = describe(error)
        report(error, wire)
        return types.CallToolResult(content=[_text(wire.message)], is_error=True)
    return _to_result(result)


async def _create_run(request: AnyRequest, offer: Offer, arguments: dict[str, Any]) -> SkillRun:
    skill: Skill[Any, Any] = offer.value
    given = {name: value for name, value in arguments.items() if value is not None}
    model = given.pop("model", None)
    if model is not None and not isinstance(model, str):
        raise InvalidRequest("model: it is the name of a model.", param="model", code="invalid_value")
    known = [field.encode_name for field in msgspec.structs.fields(skill.input_type)]
    if unknown := [name for name in given if name not in known]:
        raise InvalidRequest(
            f"{unknown[0][:100]}: the skill {skill.name} has no such field; it takes {', '.join(known)} and model.",
            param=unknown[0],
            code="unknown_parameter",
        )
    return await create_run(request, offer, model, read_input(request, skill, given))


async def _run(run: SkillRun, tell: TellProgress) -> SkillResult:
    task = asyncio.ensure_future(run.run())
    try:
        while events := await run.events.next():
            for event in events:
                if event.type == "progress" and isinstance(event.done, float | int):
                    total = event.total if isinstance(event.total, float | int) else None
                    await tell(event.done, total, event.note or None)
        return await task
    finally:
        await cancel_and_wait(task)


def _to_result(result: SkillResult) -> types.CallToolResult:
    """The structured content is the skill's output; what is about the run is in _meta, as all of it is in a run's
    answer."""
    output = {"result": result.result, **result.details}
    text = result.result if isinstance(result.result, str) else msgspec.json.encode(output).decode()
    about = {name: value for name, value in msgspec.to_builtins(result).items() if name not in ("result", "details")}
    return types.CallToolResult(content=[_text(text)], structured_content=output, _meta={"llmos/run": about})


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)
