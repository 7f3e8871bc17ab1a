"""Requests of chats: which models there are, and an answer as it is written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from llmos_tui.client import Client, Refused, Unreachable
from llmos_tui.wire.chat import Chunk, ChunkOrError, ServedModel
from llmos_tui.wire.common import Listed

FAILED_IN_STREAM = 500
"""Stands for the status of a failure that came after the stream's own 200."""
DONE = "[DONE]"


async def list_chat_models(client: Client) -> list[ServedModel]:
    """Those that answer chats, skills last."""
    models = await client.get("/v1/models", Listed[ServedModel])
    return [model for model in models.data if model.can("chat")]


async def stream_chat(client: Client, request: Mapping[str, Any]) -> AsyncGenerator[Chunk, None]:
    """The chunks of an answer. Closed early, it closes the connection, which ends the request at the server.

    request: the body of /v1/chat/completions, without stream. Raises ClientError.
    """
    usage = {"include_usage": True, "continuous_usage_stats": True}
    body = {**request, "stream": True, "stream_options": usage}
    async with aclosing(client.events("POST", "/v1/chat/completions", body=body)) as events:
        async for event in events:
            if event.data == DONE:
                return
            chunk = event.decode(ChunkOrError)
            if chunk.error is not None:
                raise Refused(chunk.error.message, FAILED_IN_STREAM, chunk.error.code or "")
            yield chunk
    raise Unreachable("The server ended the stream before the answer was whole.")
