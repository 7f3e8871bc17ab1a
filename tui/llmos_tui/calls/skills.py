"""Requests about skills."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from llmos_tui.client import Client, NotUnderstood, Refused, in_path
from llmos_tui.wire.skills import Skill, SkillEvent, SkillList


async def list_skills(client: Client) -> SkillList:
    return await client.get("/admin/v1/skills", SkillList)


async def switch_skill(client: Client, name: str, *, is_on: bool) -> Skill:
    """Enable or disable it, for everybody, until it is switched again."""
    return await client.send("POST", f"/admin/v1/skills/{in_path(name)}/{'enable' if is_on else 'disable'}", Skill)


async def run_skill(client: Client, name: str, fields: Mapping[str, Any]) -> AsyncIterator[SkillEvent]:
    """The last event has the result. Who leaves ends the run. Raises Refused where it fails."""
    body = {**fields, "stream": True}
    async for event in client.events("POST", f"/v1/skills/{in_path(name)}/run", body=body):
        if event.data == "[DONE]":
            return
        told = event.decode(SkillEvent)
        if told.error is not None:
            raise Refused(told.error.message, 200, told.error.code or "")
        yield told
        if told.result is not None:
            return
    raise NotUnderstood("The stream ended without a result.")
