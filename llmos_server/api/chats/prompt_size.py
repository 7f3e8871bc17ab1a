"""How many tokens a chat has as a prompt, without running it and without loading its model."""

from __future__ import annotations

from llmos_server.api.accounting.visits import take_place
from llmos_server.api.chats.messages import to_template_messages
from llmos_server.api.chats.plan import encode_chat, template_options
from llmos_server.api.chats.tools import plan_tools
from llmos_server.api.filters.filtered_chats import filter_request
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import find_model
from llmos_server.api.schemas.chat import ChatCompletionRequest
from llmos_server.api.services import services_of
from llmos_server.chat.guarded import shared_guard


async def count_prompt(request: AnyRequest, chat: ChatCompletionRequest) -> int:
    """All of it, also when that is more than fits. Raises InvalidRequest, ModelNotFound, Forbidden, RateLimited."""
    services = services_of(request)
    chat, _ = await filter_request(request, chat, "chat.completions")
    served = await find_model(request, chat.model, chat.adapter)
    with take_place(request):
        tools = await shared_guard().in_thread(plan_tools, chat, services.settings.max_tools) if chat.tools else None
        messages = to_template_messages(chat.messages, max_tool_output=services.settings.max_tool_output)
        options = template_options(chat, served, tools.told if tools else (), chat.reasoning_effort)
        return len(await encode_chat(services, served, messages, options))
