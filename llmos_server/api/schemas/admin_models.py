"""Wire structs of /admin/v1/models."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from llmos_server.contracts import EngineState, ModelVersion
from llmos_server.fleet_contracts import ModelStatus


class ModelNameRequest(Struct, kw_only=True):
    model: Annotated[str, Meta(min_length=1, max_length=1024)]


class AdminModel(Struct, kw_only=True):
    """What lists show, and the two records that it comes from."""

    object: Literal["model"] = "model"
    id: str
    aliases: list[str]
    capabilities: list[str]
    """As /v1/models has them."""
    quantization: str
    """What most of the weights are in their file: "Q4_1", "BF16"."""
    quantization_at_load: Literal["none", "int8", "int4"]
    """What they are rounded to when they are loaded (models.options)."""
    num_parameters: int
    size_bytes: int
    """Of the weight files."""
    context_length: int | None
    """Most tokens of prompt and answer together, or of one text to encode."""
    state: EngineState
    is_default: bool
    is_pinned: bool
    pinned_by: Literal["settings", "administrator"] | None
    """What the settings pin can't be unpinned here."""
    version: ModelVersion
    """As it is on disk."""
    status: ModelStatus
    """As it is in memory."""


class AdminModelList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    budget_bytes: int
    """Of all workers together."""
    used_bytes: int
    data: list[AdminModel]


class ModelRemoved(Struct, kw_only=True):
    object: Literal["model"] = "model"
    id: str
    deleted: bool = True


class PullEvent(Struct, kw_only=True, omit_defaults=True):
    """One of a pull's stream: a line of text; how far a transfer is; or, at the end, the model."""

    text: str | None = None
    label: str | None = None
    """Of a transfer."""
    done: int | None = None
    """Bytes."""
    total: int | None = None
    """Bytes; absent when unknown."""
    model: ModelVersion | None = None
