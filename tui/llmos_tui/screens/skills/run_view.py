"""A skill is tried: a form made from its schema, its progress, its result."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Label, Static, TextArea
from textual.worker import WorkType

from llmos_tui import words
from llmos_tui.calls.skills import run_skill
from llmos_tui.client import ClientError
from llmos_tui.screens.record import in_words
from llmos_tui.screens.view import View
from llmos_tui.skill_form import FormField, NotAValue, form_fields, read_values
from llmos_tui.widgets.choice import Choice
from llmos_tui.widgets.field import Field
from llmos_tui.widgets.line import Line
from llmos_tui.wire.skills import Skill, SkillResult

MODEL = FormField("model", "text", is_required=False, hint="the skill's own, or the default model")


class SkillRunView(View):
    """Who leaves a run that goes on ends it only by stopping it."""

    DEFAULT_CSS = """
    SkillRunView #run-title, SkillRunView #run-state { background: $panel; text-style: bold; }
    SkillRunView #run-form { height: auto; max-height: 60%; scrollbar-size-vertical: 1; }
    SkillRunView #run-form Horizontal { height: auto; }
    SkillRunView #run-form Label { width: 16; color: $text-muted; padding: 0 1; }
    SkillRunView TextArea { height: 3; width: 1fr; border: none; padding: 0 1; background: $panel; }
    SkillRunView TextArea:focus { border: none; background: $boost; }
    SkillRunView Field, SkillRunView Choice { width: 1fr; }
    SkillRunView #run-result { height: 1fr; min-height: 3; padding: 0 1; scrollbar-size-vertical: 1; }
    SkillRunView #run-result:focus { background: $surface; }
    """
    BINDING_GROUP_TITLE = "Run"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", key_display="esc", tooltip="Out of a text, then to the list", id="run.back"),
        Binding("ctrl+r,f5", "run", "Run", key_display="^r", tooltip="With what the form says", id="run.go"),
        Binding("ctrl+t", "stop", "Stop", key_display="^t", tooltip="End the run", id="run.stop"),
    ]

    class Back(Message):
        """To the list."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._skill: Skill | None = None
        self._fields: list[FormField] = []
        self._inputs: dict[str, Widget] = {}
        """By the field's name, which need not be fit for an id."""
        self._is_running = False

    def compose(self) -> ComposeResult:
        yield Line(id="run-title")
        yield VerticalScroll(id="run-form", can_focus=False)
        yield Line(id="run-state")
        with VerticalScroll(id="run-result"):
            yield Static("", id="run-text")

    async def open(self, skill: Skill) -> None:
        """What was written for it stays, unless its schema is another."""
        if self._skill is None or (skill.name, skill.input_schema) != (self._skill.name, self._skill.input_schema):
            self.action_stop()
            self._fields = [*form_fields(skill.input_schema), MODEL]
            self._inputs = {field.name: self._widget(skill, field) for field in self._fields}
            form = self.query_one("#run-form")
            await form.remove_children()
            labels = (Label(_label(field), markup=False) for field in self._fields)
            await form.mount(*map(Horizontal, labels, self._inputs.values()))
            self.query_one("#run-text", Static).update("")
            self._say("Not run yet: ^r runs it.")
        self._skill = skill
        self.query_one("#run-title", Line).show(f"{skill.name} {skill.version}: {skill.description}")
        self._inputs[self._fields[0].name].focus()

    @staticmethod
    def _widget(skill: Skill, field: FormField) -> Widget:
        if field.choices:
            widget: Widget = Choice(field.choices)
        elif field.name == skill.text_field or field.is_long:
            widget = TextArea(compact=True, placeholder=field.hint)
        else:
            widget = Field(placeholder=field.hint)
        widget.tooltip = Content(field.hint) if field.hint else None
        return widget

    def input(self, name: str) -> Widget:
        """Where this field is written."""
        return self._inputs[name]

    def _written(self, name: str) -> str:
        widget = self._inputs[name]
        if isinstance(widget, TextArea):
            return widget.text
        assert isinstance(widget, Field | Choice)
        return widget.value

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "stop":
            return True if self._is_running else None
        return True

    def action_back(self) -> None:
        if isinstance(self.app.focused, TextArea):
            self.query_one("#run-result").focus()
        else:
            self.post_message(self.Back())

    def on_field_left(self, message: Field.Left) -> None:
        self.query_one("#run-result").focus()

    def on_input_submitted(self, message: Field.Submitted) -> None:
        self.action_run()

    def action_run(self) -> None:
        try:
            values = read_values(self._fields, {field.name: self._written(field.name) for field in self._fields})
        except NotAValue as error:
            self._say(str(error), is_bad=True)
            return
        work: WorkType[None] = partial(self._run, values)
        self.run_worker(work, exclusive=True, group="run")

    def action_stop(self) -> None:
        if self._is_running:
            self.workers.cancel_group(self, "run")
            self._set_running(False)
            self._say("Stopped.")

    # A run

    async def _run(self, values: dict[str, Any]) -> None:
        assert self._skill is not None
        self._set_running(True)
        self._say("running ...")
        shown, begun = "", time.monotonic()
        text = self.query_one("#run-text", Static)
        text.update("")
        try:
            async for event in run_skill(self.client, self._skill.name, values):
                if event.type == "progress":
                    of = f" of {event.total:g}" if event.total else ""
                    self._say(f"running ... {event.done or 0:g}{of} {event.note}")
                elif event.type == "text":
                    shown += event.text
                    text.update(Text(shown))
                elif event.result is not None:
                    self._show(event.result, time.monotonic() - begun)
        except ClientError as error:
            self._say(str(error), is_bad=True)
        self._set_running(False)

    def _show(self, result: SkillResult, seconds: float) -> None:
        used = f"{result.usage.prompt_tokens} + {result.usage.completion_tokens} tokens"
        state = f"{result.model} · {words.seconds(seconds)} · {used}"
        if result.below_minimum:
            state += f" · measured at {result.score:g}, below the skill's minimum of {result.minimum_score:g}"
        self._say(state, is_bad=result.below_minimum)
        details = f"\n\n{in_words(result.details)}" if result.details else ""
        self.query_one("#run-text", Static).update(Text(in_words(result.result) + details))

    def _set_running(self, is_running: bool) -> None:
        self._is_running = is_running
        self.refresh_actions()

    def _say(self, text: str, *, is_bad: bool = False) -> None:
        self.query_one("#run-state", Line).show(text, is_bad=is_bad)


def _label(field: FormField) -> str:
    return field.name + (" *" if field.is_required else "")
