"""The verb about plugins, and the verbs that plugins bring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from llmos_server.commands.shared import ConfigFlag, Switch, print_json, print_table, read_settings
from llmos_server.commands.where import ServerUrl, find_server, on_server

if TYPE_CHECKING:
    from llmos_server.plugins.host import PluginHost

plugins = App(
    name="plugins",
    help="Show the plugins that add skills, filters and more.\n\nExample: llmos plugins list",
    help_format="plaintext",
)


@plugins.command(name="list")
def list_plugins(
    *,
    json: Annotated[bool, Switch, Parameter(help="Print JSON.")] = False,
    url: ServerUrl = None,
    config: ConfigFlag = None,
) -> None:
    """List the plugins of the running server, or those that one with these settings would load, and what they offer.

    Example: llmos plugins list
    """
    root = find_server(url, config)
    found = on_server(root, "GET", "/admin/v1/plugins")["data"] if root else _list_here(config)
    if json:
        print_json(found)
        return
    if not found:
        print("There are no plugins. docs/plugins.md tells how to write one, or run: llmos skills new NAME")
        return
    print_table([("NAME", "VERSION", "STATE", "FROM", "OFFERS"), *map(_row, found)])
    for plugin in found:
        if plugin["state"] == "refused":
            print(f"\n{plugin['name']} is refused: {plugin['reason']}.")
        if plugin["switched_off"]:
            print(f"\n{plugin['name']} failed too often, so this is off for now: {', '.join(plugin['switched_off'])}.")


def _row(plugin: dict[str, Any]) -> tuple[str, ...]:
    offers = "; ".join(
        f"{hook.removeprefix('register_').replace('_', ' ')}: {', '.join(names)}"
        for hook, names in plugin["offers"].items()
    )
    return (plugin["name"], plugin["version"] or "-", plugin["state"], plugin["source"], offers or "-")


def _list_here(config: Path | None) -> list[dict[str, Any]]:
    import msgspec

    from llmos_server.api.admin.plugins import describe_plugins

    listed: list[dict[str, Any]] = msgspec.to_builtins(describe_plugins(load_here(config)))["data"]
    return listed


def load_here(config: Path | None) -> PluginHost:
    """In this process. What is refused is told on stderr."""
    from llmos_server.logs import configure_logging
    from llmos_server.plugins.host import load_plugins
    from llmos_server.settings import LogSettings

    settings = read_settings(config)
    configure_logging(LogSettings(level="error", format=settings.log.format))
    return load_plugins(settings.plugins)


def add_plugin_verb(app: App, words: list[str]) -> None:
    """The verb that is asked for, if a plugin has it and LLMOS doesn't. Plugins are loaded for unknown verbs alone."""
    if not words or words[0].startswith("-") or words[0] in app:
        return
    offer = load_here(None).find("register_commands", words[0])
    if offer is not None:
        app.command(offer.value.run, name=words[0])
