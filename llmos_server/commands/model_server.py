"""The models of a running server, for the verbs that also work without one."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from llmos_server.commands.shared import open_registry
from llmos_server.commands.where import on_server

if TYPE_CHECKING:
    from llmos_server.registry.progress import Progress


def list_on(root: str) -> list[dict[str, Any]]:
    """Each with "version" and "status"."""
    found: list[dict[str, Any]] = on_server(root, "GET", "/admin/v1/models")["data"]
    return found


def act_on(root: str, verb: str, name: str) -> Any:
    """verb: load, unload, pin or unpin."""
    return on_server(root, "POST", f"/admin/v1/models/{verb}", {"model": name})


def remove_on(root: str, name: str) -> Any:
    return on_server(root, "DELETE", f"/admin/v1/models/{quote(name, safe='')}")


def pull_on(root: str, name: str, progress: Progress, config: Path | None) -> dict[str, Any]:
    """The model's version. The pull goes on when this is interrupted."""
    import asyncio

    from llmos_server.http_client import check_status, create_client, errors_in_words, sse_chunks

    if name.startswith("file:"):
        name = open_registry(config).resolve(name)  # The server's working folder is another.

    async def follow() -> dict[str, Any]:
        model: dict[str, Any] = {}
        path = f"{root}/admin/v1/models/pull"
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
