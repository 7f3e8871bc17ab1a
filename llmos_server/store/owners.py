"""Whose rows a read may see. Every read of users' rows names an owner, or says in so many words that it means all."""

from __future__ import annotations

import enum
from typing import TypeVar

from sqlalchemy import Select

from llmos_server.store.tables import Owned

S = TypeVar("S", bound="Select[tuple[object, ...]]")


class Everybody(enum.Enum):
    EVERYBODY = "everybody"


EVERYBODY = Everybody.EVERYBODY
"""For administrators."""

Owner = str | Everybody


def of_owner(query: S, table: type[Owned], owner: Owner) -> S:
    return query if isinstance(owner, Everybody) else query.where(table.owner == owner)
