"""All models as a list."""

from __future__ import annotations

from llmos_tui import words
from llmos_tui.widgets.rows import Column, Look, Rows
from llmos_tui.wire.models import ModelRow

LOOKS: dict[str, Look] = {
    "ready": "good",
    "loading": "warn",
    "restarting": "warn",
    "failed": "bad",
    "stopped": "bad",
    "unloaded": "muted",
}


def marks(model: ModelRow) -> str:
    """D: the default. P: pinned by hand; S: by the settings."""
    pin = "" if not model.is_pinned else "S" if model.pinned_by == "settings" else "P"
    return ("D" if model.is_default else "") + pin


def quantization(model: ModelRow) -> str:
    """Of the file, and what it is rounded to when it is loaded."""
    at_load = "" if model.quantization_at_load in ("none", "") else f"→{model.quantization_at_load}"
    return (model.quantization or "-") + at_load


COLUMNS: tuple[Column[ModelRow], ...] = (
    Column("MODEL", lambda m: m.id, 18, share=2),
    Column("", marks, 2),
    Column("STATE", lambda m: m.state, 10, look=lambda m: LOOKS.get(m.state, "plain")),
    Column("SIZE", lambda m: words.size(m.size_bytes), 7, is_right=True),
    Column("PARAMS", lambda m: words.count(m.num_parameters or None), 6, is_right=True),
    Column("QUANT", quantization, 6, share=1),
    Column("CONTEXT", lambda m: words.count(m.context_length), 7, is_right=True),
    Column("MEMORY", lambda m: words.size(m.status.num_bytes or None), 7, is_right=True, drop=1),
    Column("USED BY", lambda m: str(m.status.num_open_requests), 7, is_right=True, drop=3),
    Column("CAN", lambda m: ", ".join(m.capabilities), 18, share=3, drop=2),
)


class ModelTable(Rows[ModelRow]):
    """Loaded ones and others, in the server's order."""

    def __init__(self) -> None:
        super().__init__(COLUMNS, lambda model: model.id, "No model is here. p pulls one.", id="models")
