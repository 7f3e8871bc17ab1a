"""Wire structs of /admin/v1/keys, /admin/v1/usage, /admin/v1/doctor and /v1/usage."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from llmos_server.finding import Finding
from llmos_server.key_contracts import UsageRow, UsageTotal

Limit = Annotated[int, Meta(ge=1, lt=2**31)]


Names = Annotated[list[str], Meta(max_length=100)]


class CreateKeyRequest(Struct, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    is_admin: bool = False
    models: Names | None = None
    skills: Names | None = None
    tools: Names | None = None
    max_in_flight: Limit | None = None
    tokens_per_minute: Limit | None = None


class ChangeKeyRequest(Struct, kw_only=True):
    """What is absent stays."""

    name: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType = UNSET
    models: Names | UnsetType | None = UNSET
    skills: Names | UnsetType | None = UNSET
    tools: Names | UnsetType | None = UNSET
    max_in_flight: Limit | UnsetType | None = UNSET
    tokens_per_minute: Limit | UnsetType | None = UNSET


class KeyInfo(Struct, kw_only=True):
    id: str
    name: str
    is_admin: bool
    models: list[str] | None
    skills: list[str] | None
    tools: list[str] | None
    max_in_flight: int | None
    tokens_per_minute: int | None
    created: int
    revoked: int | None
    last_used: int | None
    key: str | None = None
    """What its owner sends; only in the answer that creates it."""


class KeyList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[KeyInfo]


class UsageReport(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[UsageTotal]
    removed_before: int | None = None
    """Unix milliseconds: rows from before were removed for their age, so sums that reach further back lack them."""


class UsageEntry(Struct, kw_only=True):
    """One request."""

    object: Literal["usage"] = "usage"
    usage: UsageRow


class Findings(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[Finding]
