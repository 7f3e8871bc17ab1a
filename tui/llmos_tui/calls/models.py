"""Requests about the models that are here."""

from __future__ import annotations

from collections.abc import AsyncIterator

from llmos_tui.client import Client, NotUnderstood, Refused, in_path
from llmos_tui.wire.common import Anything
from llmos_tui.wire.models import ModelRow, ModelRows, PullEvent


async def list_models(client: Client) -> ModelRows:
    return await client.get("/admin/v1/models", ModelRows)


async def load_model(client: Client, model: str) -> ModelRow:
    """Returns when it is ready, which may take minutes."""
    return await _post(client, "load", model, seconds=None)


async def unload_model(client: Client, model: str) -> ModelRow:
    """Returns when its worker has ended, which waits for the requests that use it."""
    return await _post(client, "unload", model, seconds=None)


async def pin_model(client: Client, model: str) -> ModelRow:
    return await _post(client, "pin", model)


async def unpin_model(client: Client, model: str) -> ModelRow:
    return await _post(client, "unpin", model)


async def remove_model(client: Client, model: str) -> Anything:
    """Off the disk."""
    return await client.send("DELETE", f"/admin/v1/models/{in_path(model)}", Anything, seconds=None)


async def pull_model(client: Client, model: str) -> AsyncIterator[PullEvent]:
    """The last event has the model. Who leaves stops nothing. Raises Refused where the pull fails."""
    async for event in client.events("POST", "/admin/v1/models/pull", body={"model": model}):
        if event.data == "[DONE]":
            return
        told = event.decode(PullEvent)
        if told.error is not None:
            raise Refused(told.error.message, 200, told.error.code or "")
        yield told
        if told.model is not None:
            return
    raise NotUnderstood("The server ended the stream before the pull had ended. It may go on: pull again to see it.")


async def _post(client: Client, verb: str, model: str, seconds: float | None = 30.0) -> ModelRow:
    return await client.send("POST", f"/admin/v1/models/{verb}", ModelRow, body={"model": model}, seconds=seconds)
