"""All screens: their keys, names and purposes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from llmos_tui.screens.base import LLMOSScreen
from llmos_tui.screens.chat.screen import ChatScreen
from llmos_tui.screens.dashboard.screen import DashboardScreen
from llmos_tui.screens.jobs import JobsScreen
from llmos_tui.screens.keys.screen import KeysScreen
from llmos_tui.screens.logs import LogsScreen
from llmos_tui.screens.models.screen import ModelsScreen
from llmos_tui.screens.settings import SettingsScreen
from llmos_tui.screens.skills.screen import SkillsScreen
from llmos_tui.screens.tune.screen import TuneScreen

if TYPE_CHECKING:
    from llmos_tui.plugin_screens import PluginOffer


@dataclass(frozen=True)
class Place:
    """One screen that can be gone to. create makes it when it is first shown; it is kept from then on."""

    name: str
    key: str
    title: str
    purpose: str
    create: Callable[[], LLMOSScreen]
    is_plugin: bool = False


def _place(key: str, title: str, purpose: str, kind: type[LLMOSScreen]) -> Place:
    name = title.lower()
    return Place(name, key, title, purpose, partial(kind, name))


PLACES = (
    _place("1", "Dashboard", "what the server is doing", DashboardScreen),
    _place("2", "Chat", "try a prompt", ChatScreen),
    _place("3", "Models", "what is here and loaded; pull, load, look inside", ModelsScreen),
    _place("4", "Skills", "what they are, how good, try one", SkillsScreen),
    _place("5", "Keys", "who may use the server, and how much", KeysScreen),
    _place("6", "Jobs", "long work: progress, log, curves", JobsScreen),
    _place("7", "Logs", "what the server tells: filter, follow, search", LogsScreen),
    _place("8", "Settings", "what holds, and where each value comes from", SettingsScreen),
    _place("0", "Tune", "tuning runs, their curves, and evals", TuneScreen),
)


def plugin_places(offers: Sequence[PluginOffer]) -> list[Place]:
    """9 goes through all of them."""
    from llmos_tui.plugin_screens import PluginScreen

    places = []
    for offer in offers:
        name = f"plugin-{offer.plugin}-{offer.name}"
        purpose = f"a screen of the plugin {offer.plugin}"
        places.append(Place(name, "9", offer.name, purpose, partial(PluginScreen, offer, name), is_plugin=True))
    return places
