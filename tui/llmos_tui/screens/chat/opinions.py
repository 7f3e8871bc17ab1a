"""What the user says of an answer, given to the server."""

from __future__ import annotations

from typing import Any

from llmos_tui.calls.feedback import give_feedback, take_feedback_back
from llmos_tui.client import Client, Refused
from llmos_tui.screens.chat.lane import Lane
from llmos_tui.screens.chat.thread import Answer, Opinion

SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "max_completion_tokens",
    "seed",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "reasoning_effort",
)


def feedback_on(lane: Lane, answer: Answer, opinion: Opinion, system: str) -> dict[str, Any]:
    """The body: with all that the model had read and how it was sampled, so that it can be trained on."""
    conversation = lane.keeper.conversation
    body = {
        "response_id": answer.response_id or None,
        "conversation_id": conversation.id if conversation else None,
        "item_id": answer.message_id or None,
        "model": answer.asked.get("model") or answer.model,
        "messages": answer.asked.get("messages") or lane.thread.messages(system, until=answer),
        "answer": answer.text,
        "rating": opinion.rating,
        "correction": opinion.correction,
        "comment": opinion.comment,
        "system_fingerprint": answer.fingerprint or None,
        "sampling": {name: answer.asked[name] for name in SAMPLING if name in answer.asked} or None,
    }
    return {name: value for name, value in body.items() if value is not None}


async def keep_opinion(client: Client, lane: Lane, answer: Answer, opinion: Opinion, system: str) -> None:
    """In place of the one before. The new one is kept before the old one goes. Raises ClientError."""
    before = answer.opinion
    if opinion.rating is not None or opinion.correction is not None or opinion.comment is not None:
        opinion.id = (await give_feedback(client, feedback_on(lane, answer, opinion, system))).id
    answer.opinion = opinion
    if before.id:
        try:
            await take_feedback_back(client, before.id)
        except Refused as error:
            if error.status != 404:
                raise
