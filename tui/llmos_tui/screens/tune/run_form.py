"""The form for a new tuning run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Button, Label, Static

from llmos_tui.screens.dialog import Dialog
from llmos_tui.widgets.choice import Choice
from llmos_tui.widgets.field import Field

METHODS = ("supervised", "dpo")
LABELS = {
    "model": ("model", "which one learns"),
    "training_file": ("examples", "a .jsonl file here, or file-... of the server"),
    "validation_file": ("held-out examples", "none; as above"),
    "suffix": ("name", "MODEL:NAME answers then; made up if empty"),
    "recipe": ("recipe", "the usual one; sft_lora, sft_dora, dpo ..."),
    "n_epochs": ("epochs", "auto"),
    "batch_size": ("batch size", "auto"),
    "learning_rate_multiplier": ("learning rate times", "1"),
    "set": ("more keys of TRL", '{"lora_r": 32}'),
    "gate": ("eval as a gate", "none; eval_...: held if it is worse there"),
}
"""Field -> what it is called, and what an empty one means."""
HYPERPARAMETERS = {"n_epochs": int, "batch_size": int, "learning_rate_multiplier": float}
FILES = ("training_file", "validation_file")


class NotAnOrder(ValueError):
    """What was written can't be; the text is for the user."""


class RunForm(Dialog[dict[str, Any]]):
    """The answer: the fields of a request, in which a path of this machine still stands for a file."""

    DEFAULT_CSS = """
    RunForm > .dialog { width: 84; max-height: 100%; padding: 0 2; }
    RunForm .pair { height: 1; }
    RunForm .pair Label { width: 21; }
    RunForm .pair Field, RunForm .pair Choice { width: 1fr; }
    RunForm #form-error { color: $error; height: auto; }
    """
    BINDING_GROUP_TITLE = "Tuning run"

    def __init__(self, model: str) -> None:
        super().__init__("A new tuning run")
        self._model = model

    def compose_dialog(self) -> ComposeResult:
        for name, (label, empty) in LABELS.items():
            with Horizontal(classes="pair"):
                yield Label(label)
                value = self._model if name == "model" else ""
                yield Field(value, placeholder=empty, id=f"form-{name}", max_length=4000)
            if name == "model":
                with Horizontal(classes="pair"):
                    yield Label("method")
                    yield Choice(METHODS, id="form-method")
        yield Static("", id="form-error", markup=False)
        with Horizontal(classes="dialog--buttons"):
            yield Button("Not now", id="no")
            yield Button("Start it", id="yes", variant="primary")

    def on_mount(self) -> None:
        self.query_one("#form-training_file" if self._model else "#form-model", Field).focus()

    def on_field_left(self, message: Field.Left) -> None:
        self.action_close()

    def on_input_submitted(self, message: Field.Submitted) -> None:
        self._answer()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "yes":
            self._answer()
        else:
            self.action_close()

    def _answer(self) -> None:
        texts = {name: self.query_one(f"#form-{name}", Field).value.strip() for name in LABELS}
        try:
            self.dismiss(read_order(self.query_one("#form-method", Choice).value, texts))
        except NotAnOrder as error:
            self.query_one("#form-error", Static).update(str(error))


def read_order(method: str, texts: dict[str, str]) -> dict[str, Any]:
    """As the API has it. Raises NotAnOrder."""
    for name in ("model", "training_file"):
        if not texts[name]:
            raise NotAnOrder(f"{LABELS[name][0]}: {LABELS[name][1]}.")
    order: dict[str, Any] = {name: texts[name] for name in ("model", "suffix", "recipe") if texts[name]}
    for name in FILES:
        if texts[name]:
            order[name] = texts[name] if texts[name].startswith("file-") else str(read_path(name, texts[name]))
    told = {name: read_number(name, texts[name], kind) for name, kind in HYPERPARAMETERS.items() if texts[name]}
    order["method"] = {"type": method, method: {"hyperparameters": told} if told else {}}
    if texts["set"]:
        order["set"] = read_keys(texts["set"])
    if texts["gate"]:
        order["gate"] = {"eval_id": texts["gate"]}
    return order


def read_path(name: str, text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_file():
        raise NotAnOrder(f"{LABELS[name][0]}: there is no file {path} on this machine.")
    return path


def read_number(name: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(text)
    except ValueError:
        raise NotAnOrder(f"{LABELS[name][0]}: a number, or nothing.") from None


def read_keys(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise NotAnOrder(f"{LABELS['set'][0]}: a JSON object such as {LABELS['set'][1]}.") from None
