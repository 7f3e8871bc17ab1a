"""Wire structs of /v1/skills/{name}/run and /v1/llmos/skills."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from llmos_server.api.schemas.common import Usage
from llmos_server.contracts import ModelKind
from llmos_server.skill_contracts import SkillScore


class SkillRunRequest(Struct, kw_only=True):
    """Beside these, the fields of the skill's input."""

    model: str | None = None
    stream: bool | None = None


class SkillRunBody(SkillRunRequest, kw_only=True):
    """As it was read."""

    input: dict[str, Any] = {}
    """All other fields, without nulls."""


class SkillResult(Struct, kw_only=True):
    """What a run answers."""

    id: str
    object: Literal["skill.result"] = "skill.result"
    created: int
    skill: str
    version: str
    model: str
    model_digest: str
    result: Any
    """The output's field of this name."""
    details: dict[str, Any]
    """The output's other fields."""
    usage: Usage
    """Of all that the model was asked."""
    score: float | UnsetType = UNSET
    """What `llmos skills eval` last measured with this version and these weights; absent if it wasn't run."""
    minimum_score: float | UnsetType = UNSET
    """What the skill's author asks for; absent if nothing is asked for."""
    below_minimum: bool | UnsetType = UNSET
    """Absent unless both are known."""


class SkillEvent(Struct, kw_only=True):
    """One event of a streamed run; the result is the last but [DONE]."""

    type: Literal["progress", "text", "result"]
    done: float | UnsetType = UNSET
    total: float | UnsetType | None = UNSET
    """None where the skill doesn't know."""
    note: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    """The next piece of a result that is a string, when the skill gives it out early."""
    result: SkillResult | UnsetType = UNSET


class SkillInfo(Struct, kw_only=True):
    name: str
    version: str
    description: str
    plugin: str
    text_field: str
    model_kinds: list[ModelKind]
    """Of a run's model."""
    metric: str
    minimum_score: float | None


class SkillList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[SkillInfo]


class SkillDetails(SkillInfo, kw_only=True):
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    chat_defaults: dict[str, Any]
    tool: dict[str, Any]
    """As an entry of `tools` in a chat."""


class StoreScoreRequest(Struct, kw_only=True):
    version: Annotated[str, Meta(max_length=64)]
    model: str
    model_digest: str
    figures: Annotated[dict[str, float], Meta(max_length=100)]
    num_cases: Annotated[int, Meta(ge=1, lt=2**31)]
    num_failed: Annotated[int, Meta(ge=0, lt=2**31)]


class SkillScoreList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[SkillScore]
