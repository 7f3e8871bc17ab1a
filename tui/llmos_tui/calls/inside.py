"""Requests about what is inside a model."""

from __future__ import annotations

import json
from typing import Any

from llmos_tui.client import Client, ClientError
from llmos_tui.wire.inside import Attention, Preview, Structure, Template

LONG_SECONDS = 600.0
"""Attention waits for its turn, and a big model takes minutes; the server has a limit of its own."""


class NotAPrompt(ClientError):
    """What the user wrote looks like JSON and isn't."""


def read_prompt(text: str, *, is_chat: bool) -> dict[str, Any]:
    """The fields of a request: text as it is or, for a chat, as a user's message. What begins with [ is a list of
    messages in JSON, what begins with { an object with messages, tools and the like."""
    if not text.lstrip().startswith(("[", "{")):
        return {"messages": [{"role": "user", "content": text}]} if is_chat else {"prompt": text}
    try:
        given = json.loads(text)
    except ValueError as error:
        raise NotAPrompt(f"What begins with [ or {{ has to be JSON: {error}") from None
    return given if isinstance(given, dict) else {"messages": given}


async def get_structure(client: Client, model: str) -> Structure:
    return await client.get("/admin/v1/models/structure", Structure, {"model": model})


async def get_template(client: Client, model: str) -> Template:
    return await client.get("/admin/v1/models/template", Template, {"model": model})


async def preview_prompt(client: Client, model: str, text: str, *, is_chat: bool) -> Preview:
    body = {**read_prompt(text, is_chat=is_chat), "model": model}
    return await client.send("POST", "/admin/v1/models/preview", Preview, body=body)


async def get_attention(client: Client, model: str, text: str, layer: int, head: int | None) -> Attention:
    """head: None is the mean over all."""
    place = {"layer": layer} if head is None else {"layer": layer, "head": head}
    body = {**read_prompt(text, is_chat=False), **place, "model": model}
    return await client.send("POST", "/admin/v1/models/attention", Attention, body=body, seconds=LONG_SECONDS)
