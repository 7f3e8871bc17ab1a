"""What a client says about thinking, as variables of the model's chat template."""

from __future__ import annotations

from typing import Any, NamedTuple

from llmos_server.api.schemas.anthropic import Effort, PromptFields
from llmos_server.api.served import ServedModel

SWITCHES = ("enable_thinking", "thinking")
"""Names that chat templates read."""


class ThinkingPlan(NamedTuple):
    template_kwargs: dict[str, Any]
    reasoning_effort: Effort | None
    ignored: list[str]
    """Paths of what has no effect with this model."""


NO_THINKING = ThinkingPlan({}, None, [])
"""Of what has no chat template."""


def plan_thinking(data: PromptFields, served: ServedModel) -> ThinkingPlan:
    variables = served.renderer.template_variables
    ignored: list[str] = []
    kwargs: dict[str, Any] = {}
    if data.thinking is not None:
        is_wanted = data.thinking.type != "disabled"
        switch = next((name for name in SWITCHES if name in variables), None)
        if switch is not None:
            kwargs[switch] = is_wanted
        elif is_wanted != (served.renderer.reasoning_markers(served.reasoning) is not None):
            ignored.append("thinking.type")
    effort = data.output_config.effort if data.output_config is not None else None
    if effort is not None and "reasoning_effort" not in variables:
        ignored.append("output_config.effort")
        effort = None
    return ThinkingPlan(kwargs, effort, ignored)
