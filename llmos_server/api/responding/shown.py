"""The response object before anything was generated: what was asked for, as the client sees it again."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from llmos_server.api.responding.chat_request import shown_text
from llmos_server.api.responding.toolset import Toolset, shown_choice
from llmos_server.api.schemas.common import Usage
from llmos_server.api.schemas.responses import (
    ConversationRef,
    InputTokensDetails,
    OutputTokensDetails,
    Response,
    ResponseRequest,
    ResponseUsage,
)


def create_response(
    data: ResponseRequest,
    *,
    id: str,
    created_at: int,
    model: str,
    toolset: Toolset,
    stores: bool,
    drops_oldest: bool,
) -> Response:
    """stores: whether it will be kept. drops_oldest: what happens to an input that is too long."""
    return Response(
        id=id,
        created_at=created_at,
        status="in_progress",
        background=bool(data.background),
        instructions=data.instructions,
        max_output_tokens=data.max_output_tokens,
        max_tool_calls=data.max_tool_calls,
        model=model,
        parallel_tool_calls=data.parallel_tool_calls is not False,
        previous_response_id=data.previous_response_id,
        conversation=_conversation(data),
        prompt_cache_key=data.prompt_cache_key,
        reasoning={"effort": None, "summary": None, **_given(data.reasoning)},
        safety_identifier=data.safety_identifier,
        store=stores,
        temperature=1.0 if data.temperature is None else data.temperature,
        text=shown_text(data),
        tool_choice=shown_choice(data.tool_choice, toolset),
        tools=toolset.shown,
        top_logprobs=data.top_logprobs or 0,
        top_p=1.0 if data.top_p is None else data.top_p,
        truncation="auto" if drops_oldest else "disabled",
        user=UNSET if data.user is None else data.user,
        metadata=data.metadata or {},
    )


def ending_event(status: str) -> str:
    """The type of a stream's last event. OpenAI has none of its own for what was cancelled."""
    return f"response.{'failed' if status == 'cancelled' else status}"


def conversation_id(data: ResponseRequest) -> str | None:
    conversation = data.conversation
    return conversation.id if isinstance(conversation, ConversationRef) else conversation


def _conversation(data: ResponseRequest) -> ConversationRef | None:
    found = conversation_id(data)
    return None if found is None else ConversationRef(id=found)


def _given(struct: msgspec.Struct | None) -> dict[str, Any]:
    if struct is None:
        return {}
    return {name: value for name, value in msgspec.structs.asdict(struct).items() if value is not None}


def to_usage(usage: Usage) -> ResponseUsage:
    """usage: as chats have it."""
    return ResponseUsage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=InputTokensDetails(cached_tokens=usage.prompt_tokens_details.cached_tokens),
        output_tokens=usage.completion_tokens,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=usage.completion_tokens_details.reasoning_tokens),
        total_tokens=usage.total_tokens,
        dropped_messages=usage.dropped_messages,
    )
