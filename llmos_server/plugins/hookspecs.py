"""Every way in which a plugin can add to LLMOS. docs/plugins.md has an example of each that has an effect today.

All hooks are synchronous, run once, in a thread, when the plugin is loaded, and may take `plugins.load_seconds`
together with the import. Each may take the argument `settings` (the plugin's own, see settings_type) or leave it out,
and returns a list. What happens later to what it returned is said for each hook.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pluggy

from llmos_server.plugins.filters import RequestFilter, ResponseFilter
from llmos_server.plugins.offers import Command, Metric, ModelName, ModelSource, Reward, Route, Screen, Tool
from llmos_server.skills.skill import Skill

HOOK_API = (1, 2)
"""Major and minor. A new hook or argument raises the minor number, any other change the major one."""

PROJECT = "llmos"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_skills(settings: Any) -> list[Skill[Any, Any]]:  # type: ignore[empty-body]
    """Skills. Each run is a coroutine on an event loop of its own, in a thread of its own, and may take the skill's
    timeout_seconds; the model's work that it asks for is done by the engine's workers."""


@hookspec
def register_tools(settings: Any) -> list[Tool]:  # type: ignore[empty-body]
    """Functions that a model may have called by the server. Each call is a coroutine on an event loop of its own, in a
    thread of its own, and may take the tool's timeout_seconds."""


@hookspec
def register_models(settings: Any) -> list[ModelName]:  # type: ignore[empty-body]
    """Further names for models, as models.aliases has them; the operator's own win. Read once by `llmos serve`."""


@hookspec
def register_model_sources(settings: Any) -> list[ModelSource]:  # type: ignore[empty-body]
    """Where models come from, beside hf:, file: and pypi:. Listed; the registry will ask them in a part to come."""


@hookspec
def register_request_filters(settings: Any) -> list[RequestFilter]:  # type: ignore[empty-body]
    """Guards that see, change or refuse a request before its model is chosen. Each request calls each filter once, in
    a thread of the plugin; it may take the filter's deadline_ms."""


@hookspec
def register_response_filters(settings: Any) -> list[ResponseFilter]:  # type: ignore[empty-body]
    """Guards that see, change, hold back or end an answer while it is written. Each piece of text is one call, in a
    thread of the plugin; it may take the filter's deadline_ms."""


@hookspec
def register_recipes(settings: Any) -> list[Path]:  # type: ignore[empty-body]
    """Files of tuning recipes, NAME.yaml: listed, and known to `llmos tune` and the fine-tuning API as PLUGIN:NAME.
    Each is read when a run is asked for."""


@hookspec
def register_rewards(settings: Any) -> list[Reward]:  # type: ignore[empty-body]
    """Functions that grade answers while a model is tuned by reinforcement. Each batch of answers is one call,
    in the process of the tuning run, which waits for it as long as it takes."""


@hookspec
def register_metrics(settings: Any) -> list[Metric]:  # type: ignore[empty-body]
    """Measures of answers. Listed; evaluation, a part to come, will call them. (A skill has its own: Skill.measure.)"""


@hookspec
def register_routes(settings: Any) -> list[Route]:  # type: ignore[empty-body]
    """URLs below /v1/llmos/plugins/NAME. Each request is one call, in a thread of the plugin; it may take the route's
    deadline_seconds. Keys are asked for as everywhere."""


@hookspec
def register_commands(settings: Any) -> list[Command]:  # type: ignore[empty-body]
    """Verbs of the `llmos` program. One runs in that program, not in the server, as long as it likes."""


@hookspec
def register_screens(settings: Any) -> list[Screen]:  # type: ignore[empty-body]
    """Screens of the terminal interface. `llmos tui` loads plugins, too, and opens them in that program, not in the
    server: create() is called when the screen is first shown; what it returns lives on that program's event loop."""
