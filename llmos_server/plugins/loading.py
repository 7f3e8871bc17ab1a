"""From a candidate to a plugin: imported, its version of the hooks checked, its settings read, its hooks called."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pluggy

from llmos_server.errors import SettingsError
from llmos_server.plugins import hookspecs
from llmos_server.plugins.filters import RequestFilter, ResponseFilter
from llmos_server.plugins.hookspecs import HOOK_API, PROJECT
from llmos_server.plugins.loose import convert_loosely
from llmos_server.plugins.offers import (
    Command,
    Metric,
    ModelName,
    Reward,
    Route,
    Screen,
    Tool,
    check_recipe,
    check_reward,
    check_tool,
)
from llmos_server.skills.skill import Skill, check_skill


class PluginRefused(Exception):
    """The plugin can't be used; str(error) says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One thing that a plugin registered."""

    plugin: str
    hook: str
    name: str
    value: Any
    rank: int = 0
    """-1 for hooks that are marked tryfirst, 1 for those that are marked trylast."""


TYPES: dict[str, type[Any] | None] = {
    "register_skills": Skill,
    "register_tools": Tool,
    "register_models": ModelName,
    "register_model_sources": None,
    "register_request_filters": RequestFilter,
    "register_response_filters": ResponseFilter,
    "register_recipes": Path,
    "register_rewards": Reward,
    "register_metrics": Metric,
    "register_routes": Route,
    "register_commands": Command,
    "register_screens": Screen,
}
"""Hook -> of what it returns a list. None: anything with a name."""

CHECKS: dict[str, Callable[[Any], None]] = {
    "register_skills": check_skill,
    "register_tools": check_tool,
    "register_recipes": check_recipe,
    "register_rewards": check_reward,
}

NAMESPACED = frozenset({"register_recipes", "register_routes"})
"""What is asked for by the plugin's name, too: two plugins may have the same."""


def create_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def check_version(plugin: object) -> str:
    """The version of the hooks that it was written for. Raises PluginRefused."""
    ours = ".".join(map(str, HOOK_API))
    asked = getattr(plugin, "hook_api", None)
    if asked is None:
        raise PluginRefused(f'it does not say which hooks it was written for; add hook_api = "{ours}" to it')
    parts = str(asked).split(".")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise PluginRefused(f'its hook_api is {str(asked)[:40]!r}; write "{ours}"')
    major, minor = int(parts[0]), int(parts[1]) if len(parts) == 2 else 0
    if major != HOOK_API[0]:
        raise PluginRefused(
            f"it was written for version {asked} of the hooks, and this server has {ours}; install a version of the "
            f"plugin for {HOOK_API[0]}.x, or a server with {major}.x"
        )
    if minor > HOOK_API[1]:
        raise PluginRefused(f"it needs version {asked} of the hooks, and this server has {ours}; update the server")
    return str(asked)


def read_plugin_settings(name: str, plugin: object, given: Mapping[str, Any]) -> Any:
    """A settings_type, None for a plugin without one. Raises SettingsError that names the key."""
    struct = getattr(plugin, "settings_type", None)
    if struct is None:
        if given:
            raise SettingsError(f"plugins.{name}.{min(given)}: this plugin has no settings.")
        return None
    known = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"Unknown key plugins.{name}.{key}.{hint}")
    try:
        return convert_loosely(given, struct)
    except msgspec.ValidationError as error:
        raise SettingsError(f"plugins.{name}: {error}.") from None


def collect_offers(manager: pluggy.PluginManager, plugin: object, name: str, settings: Any) -> list[Offer]:
    """Register the plugin and call all its hooks. Raises PluginRefused, and what the hooks raise."""
    try:
        manager.register(plugin, name)
    except pluggy.PluginValidationError as error:
        raise PluginRefused(" ".join(str(error).split())[:300]) from None
    offers: list[Offer] = []
    for caller in manager.get_hookcallers(plugin) or ():
        if not caller.has_spec():
            raise PluginRefused(f"there is no hook {caller.name!r}; those that there are: {', '.join(sorted(TYPES))}")
        for impl in caller.get_hookimpls():
            if impl.plugin is plugin:
                offers += _call(impl, caller.name, name, settings)
    return offers


def _call(impl: pluggy.HookImpl, hook: str, name: str, settings: Any) -> list[Offer]:
    if impl.hookwrapper or impl.wrapper:
        raise PluginRefused(f"{hook} is a wrapper of other plugins' hooks; return a list of your own instead")
    given = impl.function(**dict.fromkeys(impl.argnames, settings))
    kind = TYPES[hook]
    what = f"a list of {kind.__name__}" if kind else "a list"
    if not isinstance(given, list | tuple):
        raise PluginRefused(f"{hook} returned {type(given).__name__}; it has to return {what}")
    rank = -1 if impl.tryfirst else int(impl.trylast)
    offers = []
    for value in given:
        if kind is not None and not isinstance(value, kind):
            raise PluginRefused(f"{hook} returned a {type(value).__name__} in its list; it has to be {what}")
        try:
            if hook in CHECKS:
                CHECKS[hook](value)
        except ValueError as error:
            raise PluginRefused(f"{hook}: {error}") from None
        found = value.stem if isinstance(value, Path) else getattr(value, "name", None)
        if not isinstance(found, str) or not found:
            raise PluginRefused(f"{hook} returned a {type(value).__name__} without a name")
        offers.append(Offer(plugin=name, hook=hook, name=found, value=value, rank=rank))
    return offers
