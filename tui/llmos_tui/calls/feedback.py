"""Requests about what people say of answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmos_tui.client import Client, in_path
from llmos_tui.wire.common import Anything
from llmos_tui.wire.conversations import Feedback

PATH = "/v1/llmos/feedback"


async def give_feedback(client: Client, feedback: Mapping[str, Any]) -> Feedback:
    """feedback: model, messages, answer, and rating or correction; see docs/api.md."""
    return await client.send("POST", PATH, Feedback, body=feedback)


async def take_feedback_back(client: Client, id: str) -> None:
    await client.send("DELETE", f"{PATH}/{in_path(id)}", Anything)
