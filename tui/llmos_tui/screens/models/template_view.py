"""A model's chat template, and what it makes of a chat: the tokens that the model gets."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static
from textual.worker import WorkType

from llmos_tui.calls.inside import get_template, preview_prompt
from llmos_tui.screens.models.inside_view import InsideView
from llmos_tui.widgets.field import Field
from llmos_tui.widgets.line import Line
from llmos_tui.widgets.token_text import token_text
from llmos_tui.wire.inside import Preview, Template
from llmos_tui.wire.models import ModelRow

MESSAGE = "Hello! Who are you?"
MAX_TOKENS = 4096
"""Drawn at most; more are counted."""


class PreviewText(Static):
    """Tokens in turns of two colours; special ones stand out."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"preview--even", "preview--odd", "preview--special"}
    DEFAULT_CSS = """
    PreviewText { height: auto; }
    PreviewText .preview--even { color: $foreground; background: $panel; }
    PreviewText .preview--odd { color: $foreground; background: $secondary 40%; }
    PreviewText .preview--special { color: $accent; text-style: bold; }
    """

    def show(self, preview: Preview) -> None:
        even, odd, special = (self.get_component_rich_style(f"preview--{kind}") for kind in ("even", "odd", "special"))
        self.update(token_text(preview.tokens[:MAX_TOKENS], even, odd, special))


class TemplateView(InsideView):
    """Above the preview, below the template."""

    DEFAULT_CSS = """
    TemplateView VerticalScroll { height: 1fr; min-height: 3; padding: 0 1; scrollbar-size-vertical: 1; }
    TemplateView VerticalScroll:focus { background: $surface; }
    """
    BINDING_GROUP_TITLE = "Template"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "edit", "Message", tooltip="Write what is rendered", id="template.edit"),
    ]

    def compose(self) -> ComposeResult:
        facts, source = Line(id="preview-facts"), Line(id="template-source")
        facts.add_class("head")
        source.add_class("head")
        yield Field(MESSAGE, placeholder="what a user says, or messages as JSON", id="template-message")
        yield facts
        with VerticalScroll(id="preview-scroll"):
            yield PreviewText(id="preview")
        yield source
        with VerticalScroll(id="template-scroll"):
            yield Static("", id="template", markup=False)

    async def fetch(self, model: ModelRow) -> None:
        self.query_one("#preview-scroll").focus()
        template = await self.host.ask(get_template(self.client, model.id))
        if template is not None:
            self._show_template(template)
        await self._preview(model)

    def _show_template(self, template: Template) -> None:
        where = f"Template, of {template.source}" if template.template else "It has no chat template."
        self.query_one("#template-source", Line).show(where)
        self.query_one("#template", Static).update(Text(template.template or ""))

    async def _preview(self, model: ModelRow) -> None:
        """What can't chat gets the text alone."""
        text, is_chat = self.query_one(Field).value, "chat" in model.capabilities
        facts = self.query_one("#preview-facts", Line)
        preview = await self.host.ask(preview_prompt(self.client, model.id, text, is_chat=is_chat))
        if preview is None:
            facts.show(f"{model.id} · not rendered", is_bad=True)
            return
        count, num_special = len(preview.tokens), sum(token.is_special for token in preview.tokens)
        cut = f", the first {MAX_TOKENS} are shown" if count > MAX_TOKENS else ""
        facts.show(f"{model.id} gets {count} tokens, {num_special} of them special{cut}")
        self.query_one(PreviewText).show(preview)

    def action_edit(self) -> None:
        self.query_one(Field).focus()

    def on_field_left(self, message: Field.Left) -> None:
        self.query_one("#preview-scroll").focus()

    def on_input_submitted(self, message: Field.Submitted) -> None:
        if self.model is not None:
            self.query_one("#preview-scroll").focus()
            work: WorkType[None] = partial(self._preview, self.model)
            self.run_worker(work, exclusive=True, group="render")
