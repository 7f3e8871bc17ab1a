"""Wire structs of /admin/v1/promotions."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from llmos_server.adapter_contracts import PromotionAction

Alias = Annotated[str, Meta(min_length=1, max_length=64)]


class PromoteRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    alias: Alias
    model: Annotated[str, Meta(min_length=1, max_length=1200)]
    owner: Annotated[str, Meta(max_length=128)] | None = None


class AliasRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    alias: Alias


class PromotionInfo(Struct, kw_only=True):
    alias: str
    number: int
    """Of the alias's changes."""
    action: PromotionAction
    model: str
    """What answers, or did: a model's name, or an adapter's when it was promoted."""
    base: str | None
    """An adapter's."""
    owner: str
    """The key that made the adapter, or ""."""
    digest: str
    previous: int | None
    """The number of what a rollback brings back."""
    made_by: str
    """The administrator's key, or ""."""
    created: int
    """Unix seconds."""


class PromotionList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[PromotionInfo]


class PromotionRemoved(Struct, kw_only=True):
    alias: str
    deleted: bool = True
