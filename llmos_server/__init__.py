"""LLMOS: serve language models on your own weights, behind the API that your tools already speak.

What a plugin imports is here; docs/plugins.md tells how it is used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
        Reward,
        Route,
        RouteAnswer,
        RouteRequest,
        Screen,
        Tool,
    )
    from llmos_server.sandbox.finding import SandboxUnavailable, find_sandbox
    from llmos_server.sandbox.limits import SandboxLimits
    from llmos_server.sandbox.sandbox import Execution, Sandbox
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
    "Execution",
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
    "Reward",
    "Route",
    "RouteAnswer",
    "RouteRequest",
    "Sandbox",
    "SandboxLimits",
    "SandboxUnavailable",
    "Screen",
    "ScriptedContext",
    "Skill",
    "SkillContext",
    "Tool",
    "calibrated",
    "find_sandbox",
    "hookimpl",
    "try_skill",
]

_HOMES = {
    "calibration.calibration": "Calibration calibrated",
    "plugins.filters": "ChoiceFilter EndAnswer FilteredRequest Refusal RequestFilter ResponseFilter",
    "plugins.hookspecs": "HOOK_API hookimpl",
    "plugins.offers": "Command Metric ModelName ModelSource Reward Route RouteAnswer RouteRequest Screen Tool",
    "sandbox.finding": "SandboxUnavailable find_sandbox",
    "sandbox.limits": "SandboxLimits",
    "sandbox.sandbox": "Execution Sandbox",
    "skills.cases": "Case Outcome",
    "skills.context": "AnswerScore Classified Reply ReplyCut SkillContext",
    "skills.scripted": "Asked ScriptedContext try_skill",
    "skills.skill": "InputError Skill",
}
"""The same as above: module -> names. A name is loaded when it is first asked for, so that programs and workers that
need none of them start without all this."""

if not TYPE_CHECKING:  # Checkers would take every name for one that there is.

    def __getattr__(name):
        from importlib import import_module

        home = next((module for module, names in _HOMES.items() if name in names.split()), None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
