"""A line to write in, that one can leave: then keys are keys again."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input


class Field(Input):
    """Esc tells whoever holds it; Enter submits, as in all inputs."""

    DEFAULT_CSS = """
    Field { height: 1; border: none; padding: 0 1; background: $panel; }
    Field:focus { border: none; background: $boost; }
    """
    BINDING_GROUP_TITLE = "Field"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", key_display="esc", tooltip="Out of this field", id="field.leave"),
    ]

    class Left(Message):
        """Keys shall be keys again."""

        def __init__(self, field: Field) -> None:
            self.field = field
            super().__init__()

    def __init__(self, value: str = "", *, placeholder: str = "", id: str | None = None, **options: Any) -> None:
        super().__init__(value, placeholder=placeholder, id=id, select_on_focus=False, **options)
        self.cursor_blink = False

    def action_leave(self) -> None:
        self.post_message(self.Left(self))
