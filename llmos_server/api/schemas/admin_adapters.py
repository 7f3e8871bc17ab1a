"""Wire structs of /admin/v1/adapters."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class AdapterNameRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=1200)]
    owner: Annotated[str, Meta(max_length=128)] | None = None


class AdapterInfo(Struct, kw_only=True):
    name: str
    """As it is asked for: BASE:SUFFIX."""
    base: str
    owner: str
    """The key that made it; "" is everybody's."""
    is_shared: bool
    digest: str
    rank: int
    num_bytes: int
    job_id: str
    """The job that made it, or ""."""
    created: int
    """Unix seconds."""
    is_loaded: bool
    """By the engine of its base, now."""
    loaded_bytes: int
    """What it takes there; 0 while it isn't loaded."""
    last_used: float | None
    """Unix seconds of the last request for it, since it was loaded."""


class AdapterList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[AdapterInfo]


class AdapterContent(Struct, kw_only=True):
    folder: str
    """On the server's machine."""
    files: dict[str, int]
    """Name -> bytes; none where they are gone."""
    targets: list[str]
    """What the changed modules are called in each layer: "q_proj" ..."""
    num_modules: int
    scales: list[float]
    """The different ones of its modules."""


class AdapterTraining(Struct, kw_only=True):
    """What its job told, as long as that is kept."""

    job_id: str
    method: str
    num_examples: int
    total_steps: int
    trained_tokens: int
    metrics: dict[str, float]
    """At its checkpoint, or the last one: train_loss, valid_loss and others."""
    verified: str
    """How far what is served is from what was trained, in words; "" of a checkpoint."""
    gate: str
    """What its gate said, or ""."""


class AdapterDetails(Struct, kw_only=True):
    adapter: AdapterInfo
    content: AdapterContent
    training: AdapterTraining | None
    aliases: list[str]
    """That lead to it now."""
