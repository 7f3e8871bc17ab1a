"""Skills as the fake server tells them: in the server's own structs, and one with a built-in skill's schema."""

from __future__ import annotations

from typing import Any

import msgspec
import tui_data
from llmos_plugins.translation.types import TranslationInput

from llmos_server.api.schemas.admin_skills import AdminSkill
from llmos_server.api.schemas.common import CompletionTokensDetails, PromptTokensDetails, Usage
from llmos_server.api.schemas.skills import SkillEvent, SkillResult
from llmos_server.api.skill_history import SkillError
from llmos_server.skill_contracts import SkillScore
from llmos_server.skills.forms import inline_schema


def score(model: str, value: float) -> SkillScore:
    return SkillScore(
        skill="translation",
        version="1.2.0",
        model=model,
        model_digest="sha256:0",
        metric="chrf",
        score=value,
        figures={"chrf": value},
        num_cases=40,
        num_failed=2,
        created=int(tui_data.NOW),
    )


def skill(name: str = "translation", **changes: Any) -> AdminSkill:
    found = AdminSkill(
        name=name,
        version="1.2.0",
        description="Whole documents in parts, with glossary and formality.",
        plugin="llmos_plugins.translation",
        text_field="text",
        model_kinds=["decoder"],
        metric="chrf",
        minimum_score=0.35,
        enabled=True,
        is_switched_off=False,
        scores=[score("smollm2:135m", 0.412), score("qwen3:0.6b", 0.57)],
        last_errors=[
            SkillError(
                time=tui_data.NOW, kind="raised", type="KeyError", text="failed (skill.py:33)", request_id="req_1"
            )
        ],
        runs=120,
        failures=1,
        input_schema=inline_schema(msgspec.json.schema(TranslationInput)),
    )
    return msgspec.structs.replace(found, **changes)


SCHEMA = {
    "type": "object",
    "properties": {
        "fast": {"type": "boolean", "default": True},
        "task": {"enum": ["write", "fix"]},
        "style": {"enum": ["plain", "bold"], "default": "bold"},
        "size": {"type": "integer", "minimum": 1, "maximum": 9, "default": 4},
        "labels": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Label"}]}},
        "share": {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}], "default": None},
        "terms": {"type": "object", "default": {}},
    },
    "required": ["task", "labels"],
}


def skills() -> list[AdminSkill]:
    quiet = {"scores": [], "last_errors": [], "runs": 0, "failures": 0, "minimum_score": None}
    other = skill("classify-all", enabled=False, description="Sorts.", text_field="", input_schema=SCHEMA, **quiet)
    return [skill(), other, skill("slow", is_switched_off=True, **quiet)]


def result(**changes: Any) -> SkillEvent:
    facts = {"score": 0.3, "minimum_score": 0.35, "below_minimum": True, **changes}
    answer = SkillResult(
        id="run_1",
        created=int(tui_data.NOW),
        skill="translation",
        version="1.2.0",
        model="smollm2:135m",
        model_digest="sha256:0",
        result="Guten Morgen",
        details={"num_parts": 1, "problems": []},
        usage=Usage(
            prompt_tokens=40,
            completion_tokens=5,
            total_tokens=45,
            prompt_tokens_details=PromptTokensDetails(),
            completion_tokens_details=CompletionTokensDetails(),
        ),
        **facts,
    )
    return SkillEvent(type="result", result=answer)
