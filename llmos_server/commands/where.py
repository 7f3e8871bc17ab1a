"""Verbs that work on a server over HTTP when one is named, and else on this machine's own files; they say which."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from llmos_server.commands.shared import read_settings

NamedUrl = Annotated[
    str | None, Parameter(help="Ask the server at this base URL; else at LLMOS_URL; else this machine's own database.")
]


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
