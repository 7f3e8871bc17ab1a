"""A request in Anthropic's form as a chat in OpenAI's."""

from __future__ import annotations

from typing import Any, NamedTuple

from llmos_server.api.anthropic.conversation import Conversation, missing, refusal
from llmos_server.api.anthropic.thinking import ThinkingPlan
from llmos_server.api.schemas.anthropic import MessagesRequest, OutputFormat, PromptFields, ToolChoice, ToolParam
from llmos_server.api.schemas.chat import ChatCompletionRequest
from llmos_server.api.schemas.structured import JsonSchemaFormat, ResponseFormat
from llmos_server.api.schemas.tools import FunctionDefinition, ToolDefinition

_MODES = {"auto": "auto", "any": "required", "none": "none"}


class Translated(NamedTuple):
    chat: ChatCompletionRequest
    places: list[str]
    """Of each of the chat's messages, in Anthropic's request."""
    ignored: list[str]
    """Paths of what has no effect."""


def to_chat(data: PromptFields, thinking: ThinkingPlan, max_tool_output: int) -> Translated:
    """max_tool_output: characters that one tool's result may have. Raises InvalidRequest that names the place."""
    conversation = Conversation(max_tool_output)
    if data.system is not None:
        conversation.add_system(data.system)
    for place, message in enumerate(data.messages):
        conversation.add(message, f"messages[{place}]")
    choice = data.tool_choice
    is_continued = conversation.is_continued
    chat = ChatCompletionRequest(
        model=data.model,
        messages=conversation.messages,
        tools=[_tool(tool, f"tools[{place}]") for place, tool in enumerate(data.tools or [])] or None,
        tool_choice=None if choice is None else _choice(choice),
        parallel_tool_calls=False if choice is not None and choice.disable_parallel_tool_use else None,
        response_format=_response_format(data),
        reasoning_effort=thinking.reasoning_effort,
        chat_template_kwargs=thinking.template_kwargs or None,
        continue_final_message=is_continued or None,
        add_generation_prompt=False if is_continued else None,
    )
    if isinstance(data, MessagesRequest):
        _add_generation(chat, data)
    return Translated(chat, conversation.places, [*conversation.ignored, *thinking.ignored])


def _add_generation(chat: ChatCompletionRequest, data: MessagesRequest) -> None:
    chat.max_completion_tokens = data.max_tokens
    chat.stop = data.stop_sequences or None
    chat.stream = data.stream
    chat.temperature = data.temperature
    chat.top_p = data.top_p
    chat.top_k = data.top_k
    chat.on_overflow = data.on_overflow


def _tool(tool: ToolParam, where: str) -> ToolDefinition:
    if tool.type not in (None, "custom"):
        reason = (
            f"{tool.type[:60]!r} is a tool of Anthropic's own, which isn't here; leave it out, or describe what it "
            "does with name, description and input_schema"
        )
        raise refusal(f"{where}.type", reason, "unsupported_value")
    if tool.input_schema is None:
        raise missing(f"{where}.input_schema")
    function = FunctionDefinition(
        name=tool.name, description=tool.description, parameters=tool.input_schema, strict=tool.strict
    )
    return ToolDefinition(type="function", function=function)


def _choice(choice: ToolChoice) -> str | dict[str, Any]:
    if choice.type != "tool":
        return _MODES[choice.type]
    if choice.name is None:
        raise missing("tool_choice.name")
    return {"type": "function", "function": {"name": choice.name}}


def _response_format(data: PromptFields) -> ResponseFormat | None:
    """Strict: the form is a promise."""
    form: OutputFormat | None = data.output_config.format if data.output_config is not None else None
    if form is not None and data.output_format is not None:
        raise refusal("output_format", "output_config.format names a form already; send one of the two")
    form = form or data.output_format
    if form is None:
        return None
    return ResponseFormat(type="json_schema", json_schema=JsonSchemaFormat(schema=form.schema, strict=True))
