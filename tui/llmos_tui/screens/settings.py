"""What holds, and where each value comes from."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.worker import WorkType

from llmos_tui.calls.settings import list_settings
from llmos_tui.screens.base import LLMOSScreen
from llmos_tui.screens.record import RecordScreen
from llmos_tui.widgets.field import Field
from llmos_tui.widgets.line import Line
from llmos_tui.widgets.rows import Column, Look, Rows
from llmos_tui.wire.settings import Setting


def name(setting: Setting) -> str:
    """As in config.toml."""
    return f"{setting.section}.{setting.key}" if setting.section else setting.key


def value(setting: Setting) -> str:
    """On one line."""
    if isinstance(setting.value, str):
        return setting.value or '""'
    return msgspec.json.encode(setting.value).decode()


def _look(setting: Setting) -> Look:
    return "plain" if setting.source == "default" else "good"


COLUMNS: tuple[Column[Setting], ...] = (
    Column("SETTING", name, 26, share=1, look=_look),
    Column("VALUE", value, 16, share=2, look=_look),
    Column("SOURCE", lambda setting: setting.source, 11, look=lambda s: "muted" if s.source == "default" else "good"),
    Column("ORIGIN", lambda setting: setting.origin, 12, share=1, look=lambda setting: "muted"),
    Column("MEANING", lambda setting: setting.doc, 30, share=3, drop=1, look=lambda setting: "muted"),
)


class SettingsScreen(LLMOSScreen):
    """They change when the server is started anew, so that they are fetched when this is shown."""

    DEFAULT_CSS = """
    SettingsScreen #setting-doc { background: $surface; color: $text-muted; }
    """
    BINDING_GROUP_TITLE = "Settings"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "inspect", "Details", tooltip="The whole value and what it means", id="settings.inspect"),
        Binding(
            "slash",
            "filter",
            "Filter",
            key_display="/",
            tooltip="Those with a text in name, value, origin or meaning",
            id="settings.filter",
        ),
        Binding("d", "toggle_defaults", "All/set", tooltip="All, or those that somebody has set", id="settings.set"),
    ]

    def __init__(self, place_name: str = "settings") -> None:
        super().__init__(place_name)
        self._settings: list[Setting] = []
        self._is_set_only = False

    def compose_body(self) -> ComposeResult:
        yield Field(placeholder="/ filters", id="setting-filter")
        yield Rows[Setting](COLUMNS, name, "No setting has that.", id="settings")
        yield Line(id="setting-doc")

    @property
    def table(self) -> Rows[Setting]:
        return self.query_one("#settings", Rows)

    def on_mount(self) -> None:
        super().on_mount()
        self.table.focus()

    def came_online(self) -> None:
        work: WorkType[None] = self._fetch
        self.run_worker(work, exclusive=True)

    async def _fetch(self) -> None:
        settings = await self.ask(list_settings(self.client))
        if settings is not None:
            self._settings = settings.data
            self._show()

    def _show(self) -> None:
        wanted = self.query_one(Field).value.casefold()
        shown = [
            setting
            for setting in self._settings
            if not (self._is_set_only and setting.source == "default")
            and wanted in f"{name(setting)} {value(setting)} {setting.origin} {setting.doc}".casefold()
        ]
        self.table.show(shown)
        self._show_doc()

    def _show_doc(self) -> None:
        setting = self.table.current
        told = f"{len(self.table.rows)} of {len(self._settings)}"
        self.query_one("#setting-doc", Line).show(told if setting is None else f"{told} · {setting.doc}")

    def on_input_changed(self, message: Field.Changed) -> None:
        self._show()

    def on_input_submitted(self, message: Field.Submitted) -> None:
        self.table.focus()

    def on_field_left(self, message: Field.Left) -> None:
        self.table.focus()

    def on_rows_moved(self, message: Rows.Moved) -> None:
        self._show_doc()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        setting: Setting = message.row
        facts = [
            ("value", setting.value),
            ("source", setting.source),
            ("origin", setting.origin or "-"),
            ("meaning", setting.doc or "-"),
        ]
        self.app.push_screen(RecordScreen(name(setting), facts))

    def action_inspect(self) -> None:
        self.table.choose()

    def action_filter(self) -> None:
        self.query_one(Field).focus()

    def action_toggle_defaults(self) -> None:
        self._is_set_only = not self._is_set_only
        self._show()
