"""LLMOS: serve language models on your own weights, behind the API that your tools already speak.

What a plugin imports is here; docs/plugins.md tells how it is used.
"""

from llmos_server.calibration.calibration import Calibration, calibrated
from llmos_server.plugins.filters import (
    ChoiceFilter,
    EndAnswer,
    FilteredRequest,
    Refusal,
    RequestFilter,
    ResponseFilter,
)
from llmos_server.plugins.hookspecs import HOOK_API, hookimpl
from llmos_server.plugins.offers import (
    Command,
    Metric,
    ModelName,
    ModelSource,
    Route,
    RouteAnswer,
    RouteRequest,
    Screen,
    Tool,
)
from llmos_server.skills.cases import Case, Outcome
from llmos_server.skills.context import AnswerScore, Classified, Reply, ReplyCut, SkillContext
from llmos_server.skills.scripted import Asked, ScriptedContext, try_skill
from llmos_server.skills.skill import InputError, Skill

__version__ = "0.1.0"

__all__ = [
    "HOOK_API",
    "AnswerScore",
    "Asked",
    "Calibration",
    "Case",
    "ChoiceFilter",
    "Classified",
    "Command",
    "EndAnswer",
    "FilteredRequest",
    "InputError",
    "Metric",
    "ModelName",
    "ModelSource",
    "Outcome",
    "Refusal",
    "Reply",
    "ReplyCut",
    "RequestFilter",
    "ResponseFilter",
    "Route",
    "RouteAnswer",
    "RouteRequest",
    "Screen",
    "ScriptedContext",
    "Skill",
    "SkillContext",
    "Tool",
    "calibrated",
    "hookimpl",
    "try_skill",
]
