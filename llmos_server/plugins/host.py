"""All plugins of this process: found, loaded one by one, none able to keep the others or the server from starting."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import structlog

from llmos_server.errors import SettingsError
from llmos_server.plugins.crash_note import CrashNote
from llmos_server.plugins.failures import Failures
from llmos_server.plugins.loading import (
    NAMESPACED,
    Offer,
    PluginRefused,
    check_version,
    collect_offers,
    create_manager,
    read_plugin_settings,
)
from llmos_server.plugins.sources import NAME, Candidate, find_plugins
from llmos_server.plugins.threads import Threads
from llmos_server.settings import PluginsSettings

log = structlog.get_logger(__name__)

State = Literal["on", "disabled", "refused"]

LOADS = "load"
"""Stands for a hook's name in failures of a plugin that could not be loaded."""


@dataclass(kw_only=True)
class Plugin:
    """One that was found, whatever became of it."""

    name: str
    source: str
    version: str = ""
    hook_api: str = ""
    state: State = "on"
    reason: str = ""
    """Why it isn't on, and what to do."""
    offers: list[Offer] = field(default_factory=list)


class PluginHost:
    """What is offered by all plugins together, in the order of their loading; of two things of one kind and name the
    first one counts, and the plugin of the other is refused."""

    def __init__(self, settings: PluginsSettings, crash_note: CrashNote | None = None) -> None:
        self.settings = settings
        self._crash_note = crash_note or CrashNote(None)
        self.plugins: dict[str, Plugin] = {}
        self.failures = Failures(settings.max_failures, settings.rest_seconds)
        self._manager = create_manager()
        self._threads: dict[str, Threads] = {}
        self._offers: dict[str, list[Offer]] = {}
        """By hook; until another plugin is added."""

    def threads_of(self, plugin: str) -> Threads:
        """A plugin's own, so that one that blocks them all blocks itself."""
        if plugin not in self._threads:
            self._threads[plugin] = Threads(f"llmos-plugin-{plugin}", self.settings.max_threads)
        return self._threads[plugin]

    def offers(self, hook: str) -> list[Offer]:
        """Of plugins that are on; what was marked tryfirst first, trylast last."""
        if hook not in self._offers:
            self._offers[hook] = self._collect(hook)
        return self._offers[hook]

    def _collect(self, hook: str) -> list[Offer]:
        found = [offer for plugin in self.plugins.values() for offer in plugin.offers if offer.hook == hook]
        return sorted(found, key=lambda offer: offer.rank)

    def find(self, hook: str, name: str) -> Offer | None:
        return next((offer for offer in self.offers(hook) if offer.name == name), None)

    def add(self, candidate: Candidate, given: Mapping[str, Any]) -> None:
        """Load one. Raises SettingsError alone: what the plugin does wrong is noted with it."""
        name = candidate.name
        if name in self.plugins:
            log.error("plugin refused", plugin=name, source=candidate.source, reason="another one has this name")
            name = f"{name} ({candidate.source})"
            if name in self.plugins:
                return
            taken = self.plugins[candidate.name].source
            reason = f"another plugin has this name already ({taken}); disable or rename one of them"
            self.plugins[name] = Plugin(name=name, source=candidate.source, state="refused", reason=reason)
            return
        plugin = self.plugins[name] = Plugin(name=name, source=candidate.source, version=candidate.version)
        if not self._is_enabled(name):
            plugin.state, plugin.reason = "disabled", "by the settings plugins.disabled or plugins.enabled"
            return
        try:
            if not NAME.fullmatch(name):
                raise PluginRefused("its name has to be of lower-case letters, digits, _ and -, a letter first")
            if name in self._crash_note.crashed:
                raise PluginRefused(
                    f"a server ended while it was loaded; update or disable it, then delete {self._crash_note.path}"
                )
            with self._crash_note.loading(name):
                plugin.offers = self._load(plugin, candidate, given)
            self._offers.clear()
        except SettingsError:
            raise
        except PluginRefused as error:
            self._refuse(plugin, str(error), "invalid", None)
        except TimeoutError as error:
            seconds = self.settings.load_seconds
            self._refuse(plugin, f"loading it took longer than plugins.load_seconds ({seconds:g} s)", "timeout", error)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"[:500]
            self._refuse(plugin, f"it could not be loaded: {told}", "raised", error)

    def _is_enabled(self, name: str) -> bool:
        allowed = self.settings.enabled
        return name not in self.settings.disabled and (not allowed or name in allowed)

    def _load(self, plugin: Plugin, candidate: Candidate, given: Mapping[str, Any]) -> list[Offer]:
        def load() -> list[Offer]:
            code = candidate.load()
            plugin.hook_api = check_version(code)
            plugin.version = plugin.version or str(getattr(code, "__version__", ""))
            settings = read_plugin_settings(plugin.name, code, given)
            return collect_offers(self._manager, code, plugin.name, settings)

        offers = self.threads_of(plugin.name).call_and_wait(load, self.settings.load_seconds)
        for offer in offers:
            other = self.find(offer.hook, offer.name)
            if other is not None and offer.hook not in NAMESPACED:
                raise PluginRefused(f"{offer.hook}: {offer.name!r} is taken by the plugin {other.plugin!r}")
        return offers

    def _refuse(self, plugin: Plugin, reason: str, kind: Any, error: BaseException | None) -> None:
        plugin.state, plugin.reason = "refused", reason
        self.failures.note(plugin.name, LOADS, "", kind, error)
        log.error("plugin refused", plugin=plugin.name, source=plugin.source, reason=reason)


def load_plugins(settings: PluginsSettings, *, built_in: bool = True, crash_note: Path | None = None) -> PluginHost:
    """crash_note: the file that remembers which plugin ended the process.

    Raises SettingsError for settings that name no plugin, or a key that a plugin doesn't have.
    """
    host = PluginHost(settings, CrashNote(crash_note))
    candidates = list(find_plugins(settings.folders, built_in=built_in))
    _check_names(settings, {candidate.name for candidate in candidates})
    for candidate in candidates:
        host.add(candidate, settings.options.get(candidate.name, {}))
    return host


def _check_names(settings: PluginsSettings, known: set[str]) -> None:
    for where, names in (
        ("plugins.disabled", settings.disabled),
        ("plugins.enabled", settings.enabled),
        ("[plugins.NAME]", settings.options),
    ):
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise SettingsError(f"{where}: there is no plugin {name!r}.{hint}")
