"""A response's request as a chat's, without its messages and tools."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from llmos_server.api.schemas.chat import ChatCompletionRequest, ChatMessage
from llmos_server.api.schemas.responses import ResponseRequest, TextFormat
from llmos_server.api.schemas.structured import JsonSchemaFormat, ResponseFormat
from llmos_server.errors import InvalidRequest

LOGPROBS = "message.output_text.logprobs"
SEALED_REASONING = "reasoning.encrypted_content"
_HOSTED = "it comes with a tool that this server doesn't have"
INCLUDABLE = {
    LOGPROBS: "",
    SEALED_REASONING: "",
    "message.input_image.image_url": "this model reads text only",
    "file_search_call.results": _HOSTED,
    "web_search_call.results": _HOSTED,
    "web_search_call.action.sources": _HOSTED,
    "computer_call_output.output.image_url": _HOSTED,
    "code_interpreter_call.outputs": _HOSTED,
}
"""Why not, where it can't be had."""
SAME = (
    "model",
    "adapter",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "chat_template_kwargs",
    "priority",
    "cache_salt",
    "parallel_tool_calls",
)


def to_chat(data: ResponseRequest, messages: list[ChatMessage]) -> ChatCompletionRequest:
    """Raises InvalidRequest."""
    check_included(data.include or [])
    wants_logprobs = LOGPROBS in (data.include or [])
    if data.top_logprobs and not wants_logprobs:
        raise InvalidRequest(f'top_logprobs needs include: ["{LOGPROBS}"].', param="top_logprobs", code="invalid_value")
    return ChatCompletionRequest(
        messages=messages,
        logprobs=wants_logprobs or None,
        top_logprobs=(data.top_logprobs or 0) if wants_logprobs else None,
        reasoning_effort=None if data.reasoning is None else data.reasoning.effort,
        on_overflow=None if data.truncation is None else ("drop_oldest" if data.truncation == "auto" else "error"),
        response_format=None if data.text is None or data.text.format is None else _format(data.text.format),
        **{name: getattr(data, name) for name in SAME},
    )


def _format(wire: TextFormat) -> ResponseFormat:
    if wire.type != "json_schema":
        if wire.schema is not None:
            raise InvalidRequest(
                "text.format.schema: it goes with the type json_schema.",
                param="text.format.schema",
                code="invalid_value",
            )
        return ResponseFormat(type=wire.type)
    if wire.schema is None:
        raise InvalidRequest(
            "text.format.schema is missing.", param="text.format.schema", code="missing_required_parameter"
        )
    return ResponseFormat(type=wire.type, json_schema=JsonSchemaFormat(schema=wire.schema, strict=wire.strict))


def check_included(names: Sequence[str]) -> None:
    """Raises InvalidRequest."""
    for place, name in enumerate(names):
        reason = INCLUDABLE.get(name, "this server knows nothing of this name")
        if reason:
            known = ", ".join(key for key, why in INCLUDABLE.items() if not why)
            raise InvalidRequest(
                f"include[{place}]: {name[:60]!r} can't be had: {reason}. What can be included: {known}.",
                param=f"include[{place}]",
                code="unsupported_value",
            )


def shown_text(data: ResponseRequest) -> dict[str, object]:
    """`text` as the response shows it."""
    wire = data.text.format if data.text is not None else None
    if wire is None or wire.type != "json_schema":
        return {"format": {"type": "text" if wire is None else wire.type}}
    fields = {key: value for key, value in msgspec.structs.asdict(wire).items() if value is not None}
    return {"format": {"name": "schema", "strict": False, **fields}}
