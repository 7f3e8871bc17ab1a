"""What a request goes on from, and where its answer is kept: earlier responses, a conversation, single items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from llmos_server.api.agents.keeping import keeps_objects, require_keeping
from llmos_server.api.bodies.unknown_fields import tell_unknown
from llmos_server.api.errors import NotFound
from llmos_server.api.http.access import principal_of
from llmos_server.api.responding.ids import response_of
from llmos_server.api.responding.items import type_of
from llmos_server.api.responding.shown import conversation_id
from llmos_server.api.schemas.responses import Item, Response, ResponseFault, ResponseRequest
from llmos_server.api.services import services_of
from llmos_server.errors import Forbidden, InvalidRequest, StoreUnavailable
from llmos_server.store.store import Store

log = structlog.get_logger(__name__)

Placed = tuple[str, Item]
"""An item, and its place in the request, or where else it comes from."""


@dataclass(kw_only=True)
class State:
    """Of one request."""

    owner: str
    store: Store | None
    keeps: bool
    """Whether the response is stored."""
    conversation: str | None = None
    earlier: list[Placed] = field(default_factory=list)
    """What comes before the input, oldest first, as it was stored."""

    async def save_queued(self, response: Response, items: Sequence[Item]) -> None:
        """Of background work, before it begins. Raises InvalidRequest and StoreUnavailable."""
        assert self.store is not None
        await self.store.responses.save(self.owner, msgspec.to_builtins(response), list(items))

    async def update(self, response: Response) -> bool:
        """Of background work. False when it was deleted or given up meanwhile."""
        assert self.store is not None
        return await self.store.responses.replace_unfinished(self.owner, msgspec.to_builtins(response))

    async def save(self, response: Response, items: Sequence[Item], events: bytes | None = None) -> None:
        """At its end. One that can't be stored is answered all the same, and says so. events: of background work."""
        if self.store is None:
            return
        try:
            if self.keeps and response.background:
                await self._finish(response, events)
            elif self.keeps:
                await self.save_queued(response, items)
            if self.conversation is not None and response.status in ("completed", "incomplete"):
                new = [item for item in items if item["type"] != "item_reference"]
                await self.store.conversations.add_items(self.owner, self.conversation, [*new, *response.output])
        except (InvalidRequest, Forbidden, StoreUnavailable) as error:
            response.store = False
            log.warning("response not stored", response=response.id, error=str(error))

    async def _finish(self, response: Response, events: bytes | None) -> None:
        """Whoever asks for background work later has to find its end, also where its answer is too large to be kept."""
        assert self.store is not None
        try:
            await self.store.responses.replace_unfinished(self.owner, msgspec.to_builtins(response), events)
        except InvalidRequest as error:
            response.status, response.output, response.completed_at = "failed", [], None
            response.error = ResponseFault(code="server_error", message=str(error))
            await self.update(response)


async def open_state(request: Any, data: ResponseRequest) -> State:
    """Raises InvalidRequest, NotFound, StoreUnavailable."""
    services = services_of(request)
    store, conversation = services.store, conversation_id(data)
    if data.previous_response_id is not None and conversation is not None:
        raise _refusal("conversation", "it holds what came before, as previous_response_id does; send one of the two")
    if conversation is not None and data.store is False:
        raise _refusal("store", "a conversation keeps what is said in it; leave conversation out, or store: false")
    keeps = keeps_objects(request) and data.store is not False
    if conversation is not None:
        require_keeping(request, "conversation")
    if store is None and data.previous_response_id is not None:
        raise _refusal("previous_response_id", "this server has no database; send the earlier items as input")
    if data.background and not keeps:
        raise _refusal("background", "its response has to be stored, to be asked for later; send store: true")
    if data.store and not keeps:
        tell_unknown(request, ["store"])
    owner = principal_of(request).key_id
    if store is not None and (keeps or conversation is not None):
        await store.require_room(owner)
    state = State(owner=owner, store=store, keeps=keeps, conversation=conversation)
    if store is not None:
        state.earlier = await _load(state.owner, store, data, conversation)
    return state


async def _load(owner: str, store: Store, data: ResponseRequest, conversation: str | None) -> list[Placed]:
    where = "previous_response_id"
    items: Sequence[Item] = ()
    if data.previous_response_id is not None:
        found = await store.responses.history(owner, data.previous_response_id)
        if found is None:
            raise InvalidRequest(
                f"There is no response {data.previous_response_id[:100]!r} here. It was deleted, or made with "
                "store: false; send the earlier items as input.",
                param=where,
                code="previous_response_not_found",
            )
        items = found
    elif conversation is not None:
        where = "conversation"
        page = await store.conversations.list_items(owner, conversation)
        if page is None:
            raise NotFound(f"There is no conversation {conversation[:100]!r} here.", param=where, code="not_found")
        items = page.items
    return [(f"{where}.items[{place}]", item) for place, item in enumerate(items)]


async def resolve(state: State, items: list[Placed]) -> list[Placed]:
    """Each item_reference becomes the item that it means, as it was stored. Raises NotFound, and InvalidRequest for an
    item that the conversation has already, or would have twice."""
    known = {item["id"]: item for _, item in state.earlier if isinstance(item.get("id"), str)}
    if state.conversation is not None:
        _require_new(items, set(known))
    return [(where, await _find(state, known, item, where)) for where, item in items]


def _require_new(items: list[Placed], ids: set[str]) -> None:
    for where, item in items:
        item_id = item.get("id")
        if item_id is None or type_of(item) == "item_reference":
            continue
        if item_id in ids:
            raise InvalidRequest(
                f"{where}: the conversation has an item with the id {str(item_id)[:100]!r} already. Send what is new "
                "only, or leave id out to have the item twice.",
                param=f"{where}.id",
                code="duplicate_item",
            )
        ids.add(item_id)


async def _find(state: State, known: dict[str, Item], item: Item, where: str) -> Item:
    if type_of(item) != "item_reference":
        return item
    wanted = str(item.get("id"))
    found = known.get(wanted)
    response_id = response_of(wanted)
    if found is None and state.store is not None and response_id is not None:
        stored = await state.store.responses.get(state.owner, response_id)
        items = [] if stored is None else [*stored.input_items, *stored.response.get("output", ())]
        found = next((each for each in items if each.get("id") == wanted), None)
    if found is None:
        raise NotFound(
            f"{where}: there is no item {wanted[:100]!r} here. Items are kept with their response, if that is stored; "
            "send the item itself.",
            param=where,
            code="item_not_found",
        )
    return found


def _refusal(param: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{param}: {reason}.", param=param, code="invalid_value")
