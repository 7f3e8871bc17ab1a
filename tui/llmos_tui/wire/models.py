"""The models that are here: /admin/v1/models, and a pull's events."""

from __future__ import annotations

from llmos_tui.wire.common import Wire


class InMemory(Wire, frozen=True, kw_only=True):
    """What the server knows of a model's worker."""

    num_bytes: int = 0
    """It takes, or would take, by the account of the memory budget."""
    num_open_requests: int = 0
    num_waiting: int = 0
    last_used: float | None = None
    pid: int | None = None
    failure: str | None = None
    """Why it could not be loaded."""


class ModelRow(Wire, frozen=True, kw_only=True):
    """One model, loaded or not."""

    id: str
    aliases: list[str] = []
    capabilities: list[str] = []
    quantization: str = ""
    """Of its file: "Q4_1"."""
    quantization_at_load: str = "none"
    num_parameters: int = 0
    size_bytes: int = 0
    """On disk."""
    context_length: int | None = None
    state: str = ""
    is_default: bool = False
    is_pinned: bool = False
    pinned_by: str | None = None
    status: InMemory = InMemory()


class ModelRows(Wire, frozen=True, kw_only=True):
    """All of them, and the account of the memory budget."""

    budget_bytes: int = 0
    used_bytes: int = 0
    data: list[ModelRow] = []


class ErrorBody(Wire, frozen=True, kw_only=True):
    """What went wrong, within a stream."""

    message: str = ""
    code: str | None = None


class Pulled(Wire, frozen=True, kw_only=True):
    """What a pull has come to."""

    name: str
    size_bytes: int = 0


class PullEvent(Wire, frozen=True, kw_only=True):
    """A line of text; how far a transfer is; or the end: the model, or an error."""

    text: str | None = None
    label: str | None = None
    done: int | None = None
    total: int | None = None
    """Bytes, both; total is None while it isn't known."""
    model: Pulled | None = None
    error: ErrorBody | None = None
