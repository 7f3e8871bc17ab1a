"""The verb tui: the terminal interface, which is a client like others. It is found, given a key, and started here."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from llmos_server.commands.shared import ConfigFlag, Switch, UrlFlag, read_settings
from llmos_server.errors import LLMOSError

if TYPE_CHECKING:
    from llmos_tui.app import LLMOSApp
    from llmos_tui.browser.server import BrowserServer
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
    screen: Annotated[str, Parameter(help="The one to begin with: chat, models, jobs, tune ...")] = "dashboard",
    serve: Annotated[bool, Switch, Parameter(help="Show it in browsers, to whoever has the key.")] = False,
    host: Annotated[str, Parameter(help="With --serve: the address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="With --serve: the port to listen on.")] = 8010,
    public_url: Annotated[
        str | None, Parameter(help="With --serve: the URL in the browser, where that isn't http://HOST:PORT.")
    ] = None,
    url: UrlFlag = None,
    config: ConfigFlag = None,
) -> None:
    """Open the terminal interface on a running server; where none runs, it offers to start one.

    Example: llmos tui --url http://127.0.0.1:8000
    """
    if not RATES[0] <= rate <= RATES[1]:
        raise LLMOSError(f"--rate {rate:g} has to be from {RATES[0]:g} to {RATES[1]:g} seconds.")
    if serve:
        create_browser_server(url, key, rate, config, host, port, public_url, screen).run()
    else:
        create_app(url, key, rate, config, screen).run()


def create_app(
    url: str | None, key: str | None, rate: float, config: Path | None, screen: str = "dashboard"
) -> LLMOSApp:
    with _packages_named():
        from llmos_tui.app import LLMOSApp
        from llmos_tui.client import Client
    from llmos_server.http_client import key_for

    settings = read_settings(config)
    _require_screen(screen)
    root, is_named = _server_of(url, settings)
    key_for(root)  # Now, so that a token that isn't to be trusted is told before the screen is ours.
    client = Client(root, _key_finder(key, root))
    return LLMOSApp(
        client,
        preferences=settings.home / "tui.json",
        local_server=None if is_named else _local_server(settings, config),
        plugin_screens=plugin_screens(config),
        interval=rate,
        first=screen,
    )


def _require_screen(name: str) -> None:
    from llmos_tui.screens.catalogue import PLACES

    names = [place.name for place in PLACES]
    if name not in names:
        raise LLMOSError(f"There is no screen {name!r}. They are {', '.join(names)}.")


def create_browser_server(
    url: str | None,
    key: str | None,
    rate: float,
    config: Path | None,
    host: str,
    port: int,
    public_url: str | None,
    screen: str = "dashboard",
) -> BrowserServer:
    """Each terminal is this program once more, with the URL and the key that this one has."""
    with _packages_named():
        from llmos_tui.browser.server import BrowserServer
        from llmos_tui.browser.sessions import Sessions
    from llmos_server.hosts import is_loopback
    from llmos_server.http_client import key_for

    if public_url is None and not is_loopback(host):
        raise LLMOSError(
            f"Others can reach {host!r}: say with --public-url under which URL (best https, by a proxy; over http "
            "the key can be read on its way)."
        )
    _require_screen(screen)
    root, _ = _server_of(url, read_settings(config))
    if key:
        os.environ["LLMOS_API_KEY"] = key  # For the terminals; on a command line others could read it.
    if not key_for(root):
        raise LLMOSError("Who opens it has to show a key, and there is none here: name it by --key or LLMOS_API_KEY.")
    words = [sys.executable, "-m", "llmos_server", "tui", "--url", root, "--rate", str(rate), "--screen", screen]
    words += ["--config", str(config)] if config else []
    public = public_url or f"http://{f'[{host}]' if ':' in host else host}:{port}"
    return BrowserServer("exec " + shlex.join(words), host, port, public, Sessions(_key_finder(key, root)))


def _key_finder(key: str | None, root: str) -> Callable[[], str | None]:
    """Looks anew each time: a server that starts may make another token."""
    from llmos_server.http_client import key_for

    def find() -> str | None:
        try:
            return key or key_for(root)
        except LLMOSError:
            return None

    return find


@contextmanager
def _packages_named() -> Iterator[None]:
    """What is missing, in words."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise TuiMissing(
            f"The terminal interface needs the package {error.name}. Install it with: pip install 'llmos[tui]'"
        ) from None


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


def plugin_screens(config: Path | None) -> list[PluginOffer]:
    """Those of plugins that load; what is refused is told on stderr, before the screen is ours."""
    from llmos_tui.plugin_screens import PluginOffer

    from llmos_server.commands.plugins import load_here

    return [
        PluginOffer(
            plugin=offer.plugin, name=offer.value.name, create=offer.value.create, bindings=offer.value.bindings
        )
        for offer in load_here(config).offers("register_screens")
    ]
