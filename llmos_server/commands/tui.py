"""The verb tui: the terminal interface, which is a client like others. It is found, given a key, and started here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from llmos_server.commands.shared import ConfigFlag, UrlFlag, read_settings
from llmos_server.errors import LLMOSError

if TYPE_CHECKING:
    from llmos_tui.app import LLMOSApp
    from llmos_tui.plugin_screens import PluginOffer
    from llmos_tui.starting import LocalServer

    from llmos_server.settings import Settings

RATES = (0.1, 60.0)
"""Seconds between two updates that the server takes."""


class TuiMissing(LLMOSError):
    """The packages of the extra `tui` aren't installed."""


def tui(
    *,
    key: Annotated[
        str | None,
        Parameter(help="An administrator's key; else LLMOS_API_KEY; else, on this machine, LLMOS_HOME/admin.token."),
    ] = None,
    rate: Annotated[float, Parameter(help="Seconds between two updates of what is live, 0.1 to 60.")] = 1.0,
    url: UrlFlag = None,
    config: ConfigFlag = None,
) -> None:
    """Open the terminal interface on a running server; where none runs, it offers to start one.

    Example: llmos tui --url http://127.0.0.1:8000
    """
    if not RATES[0] <= rate <= RATES[1]:
        raise LLMOSError(f"--rate {rate:g} has to be from {RATES[0]:g} to {RATES[1]:g} seconds.")
    create_app(url, key, rate, config).run()


def create_app(url: str | None, key: str | None, rate: float, config: Path | None) -> LLMOSApp:
    try:
        from llmos_tui.app import LLMOSApp
        from llmos_tui.client import Client
    except ModuleNotFoundError as error:
        raise TuiMissing(
            f"The terminal interface needs the package {error.name}. Install it with: pip install 'llmos[tui]'"
        ) from None
    from llmos_server.http_client import key_for

    settings = read_settings(config)
    root, is_named = _server_of(url, settings)
    client = Client(root, lambda: key or key_for(root))
    return LLMOSApp(
        client,
        preferences=settings.home / "tui.json",
        local_server=None if is_named else _local_server(settings, config),
        plugin_screens=_plugin_screens(config),
        interval=rate,
    )


def _server_of(url: str | None, settings: Settings) -> tuple[str, bool]:
    """Its root URL, and whether the user named it."""
    from llmos_server.commands.where import configured_root

    named = url or os.environ.get("LLMOS_URL")
    if named:
        return named.rstrip("/").removesuffix("/v1"), True
    return configured_root(settings.api), False


def _local_server(settings: Settings, config: Path | None) -> LocalServer:
    from llmos_tui.starting import LocalServer

    command = [sys.executable, "-m", "llmos_server", "serve", *(["--config", str(config)] if config else [])]
    return LocalServer(command, settings.home / "logs" / "serve-from-tui.log")


def _plugin_screens(config: Path | None) -> list[PluginOffer]:
    """Those of plugins that load; what is refused is told on stderr, before the screen is ours."""
    from llmos_tui.plugin_screens import PluginOffer

    from llmos_server.commands.plugins import load_here

    return [
        PluginOffer(
            plugin=offer.plugin, name=offer.value.name, create=offer.value.create, bindings=offer.value.bindings
        )
        for offer in load_here(config).offers("register_screens")
    ]
