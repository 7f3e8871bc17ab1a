"""Stored responses: each with its own input, and the one before it, so that a chain of them is a conversation."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from llmos_server.settings import StorageSettings
from llmos_server.store.chains import chain_up_to, check_chain, items_of
from llmos_server.store.database import Database
from llmos_server.store.objects import can_be_id, check_size, from_text, now_milliseconds, num_bytes, to_text
from llmos_server.store.presence import Presence
from llmos_server.store.quota import Quota
from llmos_server.store.state_tables import ResponseRow
from llmos_server.store.stopped import fail

BATCH_ROWS = 100

_UNFINISHED = ("queued", "in_progress")
_ONE = (ResponseRow.owner == bindparam("of_owner"), ResponseRow.id == bindparam("of_id"))
_BY_ID = select(ResponseRow.response, ResponseRow.input_items).where(*_ONE)
_RECORDED = select(ResponseRow.response, ResponseRow.events).where(*_ONE)


class StoredResponse(msgspec.Struct, frozen=True):
    """As it was saved: the response as clients see it, and its own input, without what came before."""

    response: dict[str, Any]
    input_items: list[dict[str, Any]]

    @property
    def is_finished(self) -> bool:
        return self.response.get("status") not in _UNFINISHED


class Recorded(msgspec.Struct, frozen=True):
    """One that was made in the background, and what its stream told before the last event, as it was given."""

    response: dict[str, Any]
    events: bytes


class ResponseRepository:
    """Whose it is comes first, always; what is another owner's isn't there."""

    def __init__(self, database: Database, presence: Presence, settings: StorageSettings, quota: Quota) -> None:
        self._database = database
        self._presence = presence
        self._max_bytes = settings.max_object_bytes
        self._quota = quota

    async def save(self, owner: str, response: dict[str, Any], input_items: list[dict[str, Any]]) -> None:
        """New, or instead of the owner's one with the same id. As long as its status is queued or in_progress it is
        this server's to finish. Raises InvalidRequest when it is too large to be kept, and Forbidden when its owner has
        stored too much."""
        values = {
            **self._content(response),
            "input_items": to_text(input_items),
            "previous_id": response.get("previous_response_id"),
        }
        values["num_bytes"] = num_bytes(values["response"]) + num_bytes(values["input_items"])
        self._check_size(values["num_bytes"])
        key = {"owner": owner, "id": response["id"]}
        make = sqlite.insert if self._database.is_sqlite else postgresql.insert
        row = make(ResponseRow).values(**key, **values, created=now_milliseconds())
        async with self._database.write() as connection:
            await self._quota.check(connection, owner, values["num_bytes"])
            await connection.execute(row.on_conflict_do_update(index_elements=list(key), set_=values))

    async def replace_unfinished(self, owner: str, response: dict[str, Any], events: bytes | None = None) -> bool:
        """What has become of one that was saved unfinished; its input stays. False, and nothing is changed, when it
        was deleted, cancelled or given up meanwhile. Raises InvalidRequest when it is too large to be kept. events: see
        Recorded; they are kept where there is room beside it."""
        values = self._content(response)
        size = num_bytes(values["response"])
        async with self._database.write() as connection:
            found = select(ResponseRow.input_items).where(*_ONE, ResponseRow.runner.is_not(None)).with_for_update()
            row = (await connection.execute(found, _values(owner, response["id"]))).first()
            if row is None:
                return False
            values["num_bytes"] = size + num_bytes(row.input_items)
            self._check_size(values["num_bytes"])
            if events is not None and values["num_bytes"] + len(events) <= self._max_bytes:
                values["events"] = events
                values["num_bytes"] += len(events)
            await connection.execute(update(ResponseRow).where(*_ONE).values(**values), _values(owner, response["id"]))
        return True

    async def get(self, owner: str, response_id: str) -> StoredResponse | None:
        if not can_be_id(response_id):
            return None
        row = await self._database.first(_BY_ID, _values(owner, response_id))
        return None if row is None else StoredResponse(from_text(row.response), from_text(row.input_items))

    async def recorded(self, owner: str, response_id: str) -> Recorded | None:
        """None where no events of it are kept."""
        if not can_be_id(response_id):
            return None
        row = await self._database.first(_RECORDED, _values(owner, response_id))
        return None if row is None or row.events is None else Recorded(from_text(row.response), row.events)

    async def delete(self, owner: str, response_id: str) -> bool:
        """Whether it was there."""
        if not can_be_id(response_id):
            return False
        async with self._database.write() as connection:
            done = await connection.execute(delete(ResponseRow).where(*_ONE), _values(owner, response_id))
        self._database.note_deletion()
        return done.rowcount > 0

    async def history(self, owner: str, response_id: str) -> list[dict[str, Any]] | None:
        """All items, input and output, of the chain that ends with this response, oldest first; None when the owner
        has no such response.

        Raises InvalidRequest when one of the chain is unfinished or missing, or it is too long.
        """
        if not can_be_id(response_id):
            return None
        async with self._database.read() as connection:
            rows = (await connection.execute(chain_up_to(owner, response_id, self._max_bytes))).all()
        if not rows:
            return None
        check_chain(rows, response_id, self._max_bytes)
        return items_of(rows)

    async def fail_unfinished(self) -> int:
        """What servers left that run no more becomes failed, everybody's alike; how many there were."""
        runners = select(ResponseRow.runner).where(ResponseRow.runner.is_not(None)).distinct()
        async with self._database.read() as connection:
            left = {str(runner) for runner in (await connection.execute(runners)).scalars()}
        gone = await self._presence.gone(left) if left else set()
        total = 0
        while gone and (failed := await self._fail(gone)):
            total += failed
        return total

    async def _fail(self, runners: set[str]) -> int:
        """A batch of theirs."""
        rows = select(ResponseRow.owner, ResponseRow.id, ResponseRow.response)
        rows = rows.where(ResponseRow.runner.in_(runners)).limit(BATCH_ROWS).with_for_update(skip_locked=True)
        async with self._database.write() as connection:
            found = (await connection.execute(rows)).all()
            for row in found:
                text = to_text(fail(from_text(row.response)))
                change = update(ResponseRow).where(*_ONE).values(response=text, runner=None)
                await connection.execute(change, _values(row.owner, row.id))
        return len(found)

    def _content(self, response: dict[str, Any]) -> dict[str, Any]:
        runner = self._presence.id if response.get("status") in _UNFINISHED else None
        return {"response": to_text(response), "runner": runner}

    def _check_size(self, size: int) -> None:
        remedy = "Send store: false, or less."
        check_size("The response, with its input,", size, self._max_bytes, param="store", remedy=remedy)


def _values(owner: str, response_id: str) -> dict[str, str]:
    return {"of_owner": owner, "of_id": response_id}
