"""One prompt's token ids, from text or from messages."""

from __future__ import annotations

from llmos_server.api.chats.messages import to_template_messages
from llmos_server.api.chats.plan import encode_chat, template_options
from llmos_server.api.chats.tools import read_tools
from llmos_server.api.schemas.tokenize import PromptFields
from llmos_server.api.served import ServedModel
from llmos_server.api.services import Services
from llmos_server.errors import InvalidRequest


async def encode_prompt(services: Services, served: ServedModel, data: PromptFields) -> list[int]:
    """Off the event loop when there is much text. Raises InvalidRequest."""
    if (data.prompt is None) == (data.messages is None):
        raise InvalidRequest("Send either prompt or messages.", param="prompt", code="invalid_value")
    if data.tools and data.messages is None:
        raise InvalidRequest("tools go with messages.", param="tools", code="invalid_value")
    if data.messages is not None:
        if data.add_special_tokens:
            raise InvalidRequest(
                "add_special_tokens can't be true with messages: the chat template writes the special tokens.",
                param="add_special_tokens",
                code="unsupported_value",
            )
        tools = read_tools(data.tools or [], services.settings.max_tools)
        messages = to_template_messages(data.messages, max_tool_output=services.settings.max_tool_output)
        return await encode_chat(services, served, messages, template_options(data, served, tools))
    text = data.prompt or ""
    return await services.pool.run(
        len(text), lambda: served.renderer.encode(text, add_special_tokens=data.add_special_tokens is not False)
    )
