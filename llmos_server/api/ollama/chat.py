"""POST /api/chat."""

from __future__ import annotations

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.api.chats.start import start_chat
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.ollama import tables
from llmos_server.api.ollama.answers import chat_shape
from llmos_server.api.ollama.body import OllamaBody
from llmos_server.api.ollama.generation import answer, answer_without_prompt
from llmos_server.api.ollama.messages import to_messages
from llmos_server.api.ollama.names import find
from llmos_server.api.ollama.options import read_format, read_logprobs, read_options, read_think
from llmos_server.api.ollama.skills import answer_by_skill
from llmos_server.api.ollama.words import own_words
from llmos_server.api.schemas.chat import ChatCompletionRequest, ChatMessage
from llmos_server.api.schemas.ollama import OllamaChatAnswer, OllamaChatRequest, OllamaGenerationFields
from llmos_server.api.schemas.tools import ToolDefinition
from llmos_server.api.served import ServedModel
from llmos_server.api.skills.chat import is_skill


class OllamaChatBody(OllamaBody[OllamaChatRequest]):
    table = tables.CHAT


@post(
    "/api/chat",
    dto=OllamaChatBody,
    return_dto=None,
    status_code=200,
    tags=["Ollama"],
    summary="Answer a chat",
    description="A JSON object a line, unless stream is false. Without messages the model is loaded.",
    responses={200: ResponseSpec(OllamaChatAnswer, description="The whole answer, or a line of it.")},
)
async def ollama_chat(request: AnyRequest, data: JSONBody[OllamaChatRequest]) -> ASGIApp:
    if is_skill(data.model):
        return await answer_by_skill(request, data, to_messages(data.messages or []), chat_shape)
    served = await find(request, data.model)
    if not data.messages:
        return await answer_without_prompt(request, served, data, chat_shape)
    wire = to_chat(request, served, data, to_messages(data.messages))
    wire.tools = [ToolDefinition(type=tool.type, function=tool.function) for tool in data.tools or []] or None
    with own_words():
        start = await start_chat(request, wire)
    return await answer(request, start, data, chat_shape)


def to_chat(
    request: AnyRequest, served: ServedModel, data: OllamaGenerationFields, messages: list[ChatMessage]
) -> ChatCompletionRequest:
    """Raises InvalidRequest."""
    num_top = read_logprobs(data)
    return ChatCompletionRequest(
        model=served.id,
        messages=messages,
        response_format=read_format(data.format),
        stream=data.stream is not False,
        logprobs=num_top is not None,
        top_logprobs=num_top,
        on_overflow="error" if data.truncate is False else "drop_oldest",
        **read_options(request, data.options),
        **read_think(request, served, data.think),
    )
