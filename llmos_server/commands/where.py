"""Verbs that work on a server over HTTP when one is named, and else on this machine's own files; they say which."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from llmos_server.commands.shared import read_settings

PROBE_SECONDS = 2.0

ServerUrl = Annotated[
    str | None,
    Parameter(help="Ask the server at this base URL; else at LLMOS_URL; else at [api] host and port, if one answers."),
]
NamedUrl = Annotated[
    str | None, Parameter(help="Ask the server at this base URL; else at LLMOS_URL; else this machine's own database.")
]


def find_server(url: str | None, config: Path | None) -> str | None:
    """The root URL of the server that is named, or that answers where this configuration would listen; told on stderr.

    None: there is none. A named one is not tried out: that nobody answers there is an error later, not a fall-back.
    """
    named = url or os.environ.get("LLMOS_URL")
    root = named.rstrip("/").removesuffix("/v1") if named else _probe(config)
    if root is None:
        print("llmos: no server answers; working on this machine's own files", file=sys.stderr)
    else:
        print(f"llmos: over HTTP, at {root}", file=sys.stderr)
    return root


def _probe(config: Path | None) -> str | None:
    import httpx2

    from llmos_server.hosts import is_loopback

    api = read_settings(config).api
    host = api.host if is_loopback(api.host) else "127.0.0.1"
    root = f"http://{f'[{host}]' if ':' in host else host}:{api.port}"
    try:
        answer = httpx2.get(f"{root}/version", timeout=PROBE_SECONDS, trust_env=False)
        is_ours = answer.status_code == 200 and isinstance(answer.json().get("version"), str)
    except (httpx2.HTTPError, ValueError, AttributeError):
        return None
    return root if is_ours else None


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
