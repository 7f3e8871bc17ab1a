"""Verbs that work on a server over HTTP when one is named, and else on this machine's own files; they say which."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from llmos_server.commands.shared import read_settings

if TYPE_CHECKING:
    from llmos_server.settings import ApiSettings

PROBE_SECONDS = 2.0

ServerUrl = Annotated[
    str | None,
    Parameter(
        help="Ask the server at this base URL; else at LLMOS_URL; else the one at [api] host and port, if it serves "
        "this LLMOS_HOME; else the files here."
    ),
]
NamedUrl = Annotated[
    str | None, Parameter(help="Ask the server at this base URL; else at LLMOS_URL; else this machine's own database.")
]


def find_server(url: str | None, config: Path | None) -> str | None:
    """The root URL of the server to ask; None: work on this machine's own files. Told on stderr.

    A server that was named is taken as it is, so that an unreachable one is an error later, never passed over.
    """
    named = url or os.environ.get("LLMOS_URL")
    if named:
        root = named.rstrip("/").removesuffix("/v1")
    else:
        from llmos_server.registry.home import home_id

        settings = read_settings(config)
        root = configured_root(settings.api)
        told = _ask_home_id(root)
        if told != home_id(settings.home):
            other = f" (the server at {root} serves another one)" if told else ""
            print(f"llmos: on LLMOS_HOME, {settings.home}{other}", file=sys.stderr)
            return None
    print(f"llmos: over HTTP, at {root}", file=sys.stderr)
    return root


def configured_root(api: ApiSettings) -> str:
    """Where `llmos serve` with these settings is reached from this machine."""
    from llmos_server.hosts import is_loopback

    host = api.host if is_loopback(api.host) else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{api.port}"


def _ask_home_id(root: str) -> str | None:
    """None: nobody answers there, or something else does."""
    import httpx2

    try:
        with httpx2.Client(timeout=PROBE_SECONDS, trust_env=False) as client:
            told = client.get(f"{root}/version").json()
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
        return None
    return str(told["home_id"]) if isinstance(told, dict) and told.get("home_id") else None


def say_where(url: str | None, config: Path | None) -> str | None:
    """The server's root URL, or None for the database here; told on stderr."""
    named = url or os.environ.get("LLMOS_URL")
    if named:
        root = named.rstrip("/").removesuffix("/v1")
        print(f"llmos: over HTTP, at {root}", file=sys.stderr)
        return root
    from llmos_server.store.database import label_of

    settings = read_settings(config)
    print(f"llmos: on the database {label_of(settings.home, settings.database.url)}", file=sys.stderr)
    return None


def on_server(root: str, method: str, path: str, body: Any = None, params: dict[str, str] | None = None) -> Any:
    """One request, decoded. Raises LLMOSError in the server's words."""
    import asyncio

    from llmos_server.http_client import check_status, create_client, errors_in_words

    async def ask() -> Any:
        async with create_client(root) as client:
            response = await client.request(method, root + path, json=body, params=params)
            await check_status(response)
            return response.json()

    with errors_in_words(root):
        return asyncio.run(ask())
