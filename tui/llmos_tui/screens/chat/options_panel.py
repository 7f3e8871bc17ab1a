"""System prompt, sampling and the like, as fields to fill in."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Input, Label, TextArea

from llmos_tui.screens.chat.options import OPTIONS, Option, Options, WrongOption
from llmos_tui.widgets.told import Told


class OptionsPanel(VerticalScroll, can_focus=False):
    """What is empty is left to the server. It holds for the next answer, and for both models that are compared."""

    DEFAULT_CSS = """
    OptionsPanel {
        display: none;
        width: 44;
        height: 1fr;
        padding: 0 1;
        background: $surface;
        scrollbar-size-vertical: 1;
    }
    OptionsPanel.-shown { display: block; }
    OptionsPanel Label { color: $text-muted; }
    OptionsPanel Input, OptionsPanel TextArea { border: none; padding: 0; background: $panel; margin-bottom: 1; }
    OptionsPanel Input { height: 1; }
    OptionsPanel TextArea { height: auto; min-height: 2; max-height: 8; }
    OptionsPanel Input:focus, OptionsPanel TextArea:focus { border: none; background: $boost; }
    OptionsPanel #options-error { color: $error; text-style: bold; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._error = Told(id="options-error")
        self._unseen = Options()
        """What holds until the fields are there: they are made when they are first looked at."""
        self._has_fields = False

    def compose(self) -> ComposeResult:
        yield self._error

    async def begin(self, name: str = "system") -> None:
        """Show it, with the cursor in this field."""
        if not self._has_fields:
            self._has_fields = True
            fields = [(Label(option.label), _field(option)) for option in OPTIONS]
            system = (Label("System prompt"), TextArea(id="option-system", placeholder="none"))
            await self.mount_all([widget for pair in (system, *fields) for widget in pair])
            self.write(self._unseen)
        self._show(True)
        self.query_one(f"#option-{name}").focus()

    def end(self) -> None:
        self._show(False)

    def _show(self, is_shown: bool) -> None:
        """Where the terminal is narrow, the screen hides the chat meanwhile."""
        self.set_class(is_shown, "-shown")
        self.screen.set_class(is_shown, "-options")

    @property
    def is_shown(self) -> bool:
        return self.has_class("-shown")

    def read(self) -> Options:
        """As it was written, right or wrong."""
        if not self._has_fields:
            return self._unseen
        texts = {option.name: self._text(option.name) for option in OPTIONS}
        return Options(self._text("system").strip(), texts)

    def write(self, options: Options) -> None:
        if not self._has_fields:
            self._unseen = options
            return
        self._write("system", options.system)
        for option in OPTIONS:
            self._write(option.name, options.texts.get(option.name, ""))

    async def tell(self, error: WrongOption) -> None:
        """Show which field is wrong."""
        await self.begin(error.name)
        self._error.say(str(error))

    def on_input_changed(self) -> None:
        self._error.say("")

    def on_text_area_changed(self) -> None:
        self._error.say("")

    def _text(self, name: str) -> str:
        field = self.query_one(f"#option-{name}")
        assert isinstance(field, Input | TextArea)
        return field.value if isinstance(field, Input) else field.text

    def _write(self, name: str, text: str) -> None:
        field = self.query_one(f"#option-{name}")
        if isinstance(field, Input):
            field.value = text
        elif isinstance(field, TextArea):
            field.text = text


def _field(option: Option) -> Input | TextArea:
    if option.is_long:
        return TextArea(id=f"option-{option.name}", placeholder=option.hint)
    return Input(id=f"option-{option.name}", placeholder=option.hint, select_on_focus=False)
