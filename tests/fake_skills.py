"""A plugin with a skill and a route."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from llmos_server import Route, RouteAnswer, Skill, SkillContext, hookimpl
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate
from llmos_server.settings import PluginsSettings


class ShoutInput(msgspec.Struct, kw_only=True):
    text: str
    words: list[dict[str, str]] = []
    times: Annotated[int, msgspec.Meta(ge=1, le=3)] = 1


class ShoutOutput(msgspec.Struct):
    result: str


class Shout(Skill[ShoutInput, ShoutOutput]):
    """Asks the model once, and repeats the answer in capitals."""

    name = "shout"
    version = "1"
    description = "Answers in capitals."
    input_type = ShoutInput
    output_type = ShoutOutput

    async def run(self, input: ShoutInput, context: SkillContext) -> ShoutOutput:
        context.progress(0, 1)
        reply = await context.chat([{"role": "user", "content": input.text}], max_tokens=5)
        return ShoutOutput(reply.text.upper() * input.times)


class ShoutPlugin:
    hook_api = "1.0"

    @hookimpl
    def register_skills(self) -> list[Any]:
        return [Shout()]

    @hookimpl
    def register_routes(self) -> list[Route]:
        return [Route(method="POST", path="size", handle=lambda asked: RouteAnswer(content={"size": len(asked.body)}))]


def create_skills(**settings: Any) -> PluginHost:
    """A host with the skill "shout"."""
    host = PluginHost(PluginsSettings(**settings))
    host.add(Candidate(name="shouting", source="built-in", load=ShoutPlugin), {})
    return host
