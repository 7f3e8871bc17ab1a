"""The models of a running server, for the verbs that also work without one."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from cyclopts import Parameter

from llmos_server.commands.shared import open_registry, read_settings
from llmos_server.commands.where import on_server

if TYPE_CHECKING:
    from llmos_server.registry.progress import Progress

ModelsUrl = Annotated[
    str | None,
    Parameter(
        help="Ask the server at this base URL; else at LLMOS_URL; else the one at http://127.0.0.1:8000/v1, if it "
        "serves this LLMOS_HOME; else the files here."
    ),
]
PROBE_SECONDS = 2.0


def find_server(url: str | None, config: Path | None) -> str | None:
    """The root URL of the server to ask; None: work on LLMOS_HOME. Told on stderr.

    A server that was named is taken as it is, so that an unreachable one is an error later, never passed over.
    """
    from llmos_server.http_client import DEFAULT_URL

    home = read_settings(config).home
    named = url or os.environ.get("LLMOS_URL")
    root = (named or DEFAULT_URL).rstrip("/").removesuffix("/v1")
    if not named:
        from llmos_server.registry.home import home_id

        told = _ask_home_id(root)
        if told != home_id(home):
            other = f" (the server at {root} serves another one)" if told else ""
            print(f"llmos: on LLMOS_HOME, {home}{other}", file=sys.stderr)
            return None
    print(f"llmos: over HTTP, at {root}", file=sys.stderr)
    return root


def list_on(root: str) -> list[dict[str, Any]]:
    """Each with "version" and "status"."""
    found: list[dict[str, Any]] = on_server(root, "GET", "/admin/models")["data"]
    return found


def act_on(root: str, verb: str, name: str) -> Any:
    """verb: load or unload."""
    return on_server(root, "POST", f"/admin/models/{verb}", {"model": name})


def remove_on(root: str, name: str) -> Any:
    return on_server(root, "DELETE", f"/admin/models/{quote(name, safe='')}")


def pull_on(root: str, name: str, progress: Progress, config: Path | None) -> dict[str, Any]:
    """The model's version. The pull goes on when this is interrupted."""
    import asyncio

    from llmos_server.http_client import check_status, create_client, errors_in_words, sse_chunks

    if name.startswith("file:"):
        name = open_registry(config).resolve(name)  # The server's working folder is another.

    async def follow() -> dict[str, Any]:
        model: dict[str, Any] = {}
        path = f"{root}/admin/models/pull"
        async with create_client(root) as client, client.stream("POST", path, json={"model": name}) as response:
            await check_status(response)
            with ExitStack() as transfer:
                shown = Shown(progress, transfer)
                async for event in sse_chunks(response):
                    shown.show(event)
                    model = event.get("model", model)
        return model

    with errors_in_words(root):
        return asyncio.run(follow())


class Shown:
    """A server's events about a pull, on this terminal."""

    def __init__(self, progress: Progress, transfer: ExitStack) -> None:
        self._progress = progress
        self._transfer = transfer
        self._label: str | None = None
        self._track: Any = None

    def show(self, event: dict[str, Any]) -> None:
        """A line, or how far a transfer is."""
        if "text" in event:
            self._progress.say(event["text"])
        label = event.get("label")
        if label != self._label:
            self._transfer.close()
            self._label = label
            if label is not None:
                self._track = self._transfer.enter_context(self._progress.track(label, event.get("total")))
        if label is not None:
            self._track.update(event["done"])


def _ask_home_id(root: str) -> str | None:
    """None: nobody answers there, or something else does."""
    import httpx2

    try:
        with httpx2.Client(timeout=PROBE_SECONDS, trust_env=False) as client:
            told = client.get(f"{root}/version").json()
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
        return None
    return str(told["home_id"]) if isinstance(told, dict) and told.get("home_id") else None
