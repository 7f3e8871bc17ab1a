"""A response's request, checked and put together: all that can be refused before a model or a tool is asked."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from llmos_server.api.bodies.field_rules import check_typed
from llmos_server.api.bodies.unknown_fields import tell_unknown
from llmos_server.api.http.access import find_model
from llmos_server.api.responding.chat_request import SEALED_REASONING, to_chat
from llmos_server.api.responding.fields import ITEMS
from llmos_server.api.responding.history import History, read_history
from llmos_server.api.responding.ids import Ids
from llmos_server.api.responding.items import read_item, type_of
from llmos_server.api.responding.shown import create_response
from llmos_server.api.responding.state import State, open_state, resolve
from llmos_server.api.responding.toolset import Toolset, read_tools
from llmos_server.api.schemas.chat import ChatCompletionRequest
from llmos_server.api.schemas.responses import Item, Response, ResponseRequest
from llmos_server.api.services import services_of
from llmos_server.errors import InvalidRequest


@dataclass(kw_only=True)
class Prepared:
    data: ResponseRequest
    chat: ChatCompletionRequest
    """Without tools and tool_choice, which need the server's own."""
    history: History
    toolset: Toolset
    response: Response
    ids: Ids
    state: State
    input_items: list[Item]
    """What this request has sent, each with an id."""

    @property
    def seals_reasoning(self) -> bool:
        return SEALED_REASONING in (self.data.include or [])


async def prepare(request: Any, data: ResponseRequest) -> Prepared:
    """Raises InvalidRequest, ModelNotFound, Forbidden, StoreUnavailable."""
    services = services_of(request)
    state = await open_state(request, data)
    items = input_items(data)
    given = [*state.earlier, *await resolve(state, items)]
    read = [(where, read_item(check_typed(item, ITEMS), where)) for where, item in given]
    history = read_history(data.instructions, read)
    if not history.messages and not history.approved:
        raise InvalidRequest("input is missing.", param="input", code="missing_required_parameter")
    # Before `include`, which clients send with tools: what is said of these is what helps.
    toolset = read_tools(request, data.tools or [], services.tool_providers)
    chat = to_chat(data, history.messages)
    served = await find_model(request, data.model, data.adapter)
    if told := [*history.unread, *toolset.ignored]:
        tell_unknown(request, told)
    ids = Ids()
    overflow = chat.on_overflow or services.settings.on_overflow
    response = create_response(
        data,
        id=ids.response,
        created_at=int(time.time()),
        model=served.id,
        toolset=toolset,
        stores=state.keeps,
        drops_oldest=overflow == "drop_oldest",
    )
    return Prepared(
        data=data,
        chat=chat,
        history=history,
        toolset=toolset,
        response=response,
        ids=ids,
        state=state,
        input_items=[_with_id(item, ids) for _, item in items],
    )


def input_items(data: ResponseRequest) -> list[tuple[str, Item]]:
    """Each with its place in the request."""
    if data.input is None:
        return []
    if isinstance(data.input, str):
        part = {"type": "input_text", "text": data.input}
        return [("input", {"type": "message", "role": "user", "content": [part]})]
    return [(f"input[{place}]", item) for place, item in enumerate(data.input)]


_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}


def _with_id(item: Item, ids: Ids) -> Item:
    kind = type_of(item)
    return {"id": ids.item(_PREFIXES.get(kind, "item")), **item, "type": kind}
