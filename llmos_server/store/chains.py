"""The responses that one goes on from, and those that they go on from, in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, literal, select

from llmos_server.errors import InvalidRequest
from llmos_server.store.objects import from_text
from llmos_server.store.state_tables import ResponseRow

MAX_CHAIN = 1000
"""Responses, each of which goes on from the one before."""

_PARAM = "previous_response_id"


def chain_up_to(owner: str, response_id: str, max_bytes: int) -> Select[Any]:
    """The oldest first. It ends early, with the row that is too much, when there are too many, or too many bytes."""
    row = ResponseRow
    newest = select(row.id, row.previous_id, row.num_bytes.label("total"), literal(1).label("depth"))
    chain = newest.where(row.owner == owner, row.id == response_id).cte("chain", recursive=True)
    total, depth = chain.c.total, chain.c.depth
    chain = chain.union_all(
        select(row.id, row.previous_id, total + row.num_bytes, depth + 1).where(
            row.owner == owner, row.id == chain.c.previous_id, depth < MAX_CHAIN, total <= max_bytes
        )
    )
    wanted = select(row.id, row.previous_id, row.runner, row.response, row.input_items, chain.c.depth, chain.c.total)
    return wanted.join(chain, row.id == chain.c.id).where(row.owner == owner).order_by(chain.c.depth.desc())


def check_chain(rows: Sequence[Any], response_id: str, max_bytes: int) -> None:
    """rows: of the statement above, at least one. Raises InvalidRequest unless all are there, and finished."""
    oldest = rows[0]
    if oldest.total > max_bytes or (oldest.depth >= MAX_CHAIN and oldest.previous_id is not None):
        raise InvalidRequest(
            f"The responses up to {response_id!r} are more than one request may go on from: {MAX_CHAIN} responses or, "
            f"by the setting storage.max_object_bytes, {max_bytes} bytes. Send the part of the conversation that "
            "matters as input, without previous_response_id.",
            param=_PARAM,
            code="object_too_large",
        )
    if oldest.previous_id is not None:
        raise InvalidRequest(
            f"{response_id!r} goes on from {oldest.previous_id!r}, which was deleted. Send the conversation as input, "
            "without previous_response_id.",
            param=_PARAM,
            code="previous_response_not_found",
        )
    if unfinished := [row.id for row in rows if row.runner is not None]:
        raise InvalidRequest(
            f"The response {unfinished[0]!r} isn't finished. Wait until its status is completed.",
            param=_PARAM,
            code="previous_response_not_finished",
        )


def items_of(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """rows: of the statement above. All items, input and output."""
    items: list[dict[str, Any]] = []
    for row in rows:
        items += from_text(row.input_items)
        items += from_text(row.response).get("output", ())
    return items
