"""Skills as tools of the server's: `{"type": "skill", "name": ...}` in a request's `tools`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from llmos_server.agents.tool import ServerTool, ToolOutput
from llmos_server.agents.tool_source import ToolSource
from llmos_server.api.agents.tool_entry import read_entry
from llmos_server.api.skills.access import find_skill
from llmos_server.api.skills.chat import to_text
from llmos_server.api.skills.run import create_run
from llmos_server.key_contracts import Principal
from llmos_server.plugins.loading import Offer
from llmos_server.plugins.loose import convert_loosely
from llmos_server.skills.forms import to_tool
from llmos_server.skills.runner import CANCEL_SECONDS
from llmos_server.skills.skill import Skill

LABEL = "skills"


class SkillEntry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: str
    name: str
    require_approval: Literal["always", "never"] | None = None


class SkillProvider:
    """Implements ToolProvider."""

    def open(self, entry: dict[str, Any], *, where: str, principal: Principal, request: Any) -> ToolSource:
        wire = read_entry(entry, SkillEntry, where)
        offer = find_skill(request, wire.name, param=f"{where}.name")
        return SkillSource(request, offer, needs_approval=wire.require_approval == "always")


class SkillSource:
    """Implements ToolSource: one skill, under the caller's key and place."""

    label = LABEL
    is_listed = False

    def __init__(self, request: Any, offer: Offer, *, needs_approval: bool) -> None:
        self._request = request
        self._offer = offer
        self._needs_approval = needs_approval

    async def list_tools(self) -> list[ServerTool]:
        skill: Skill[Any, Any] = self._offer.value
        function = to_tool(skill)["function"]
        return [
            ServerTool(
                name=function["name"],
                own_name=skill.name,
                description=function["description"],
                parameters=function["parameters"],
                source="skill",
                label=LABEL,
                timeout_seconds=skill.timeout_seconds + 2 * CANCEL_SECONDS,
                run=self._run,
                needs_approval=self._needs_approval,
            )
        ]

    async def close(self) -> None:
        """A run ends with the call that asked for it."""

    async def _run(self, arguments: dict[str, Any]) -> ToolOutput:
        skill: Skill[Any, Any] = self._offer.value
        given = convert_loosely(arguments, skill.input_type)
        run = await create_run(self._request, self._offer, None, given)
        return ToolOutput(text=to_text(await run.run()))
