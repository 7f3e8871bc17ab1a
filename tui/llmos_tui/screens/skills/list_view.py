"""All skills: how they are, and whether they may be run."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message

from llmos_tui.calls.skills import list_skills, switch_skill
from llmos_tui.screens.view import View
from llmos_tui.widgets.rows import Rows
from llmos_tui.widgets.skill_table import SkillFacts, SkillTable
from llmos_tui.wire.skills import Skill


class SkillListView(View):
    """The list, and below it the skill with the cursor."""

    BINDING_GROUP_TITLE = "Skills"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "run", "Try", tooltip="A form for its input, and its result", id="skills.run"),
        Binding("d", "switch", "On/off", tooltip="Disable it for everybody, or enable it", id="skills.switch"),
    ]

    class Run(Message):
        """This skill shall be tried."""

        def __init__(self, skill: Skill) -> None:
            self.skill = skill
            super().__init__()

    def compose(self) -> ComposeResult:
        yield SkillTable()
        yield SkillFacts()

    @property
    def table(self) -> SkillTable:
        return self.query_one(SkillTable)

    @property
    def _current(self) -> Skill | None:
        tables = list(self.query(SkillTable))
        return tables[0].current if tables else None

    def show(self, skills: list[Skill]) -> None:
        self.table.show(skills)
        self._show_facts()

    def _show_facts(self) -> None:
        self.query_one(SkillFacts).show(self._current)
        self.refresh_actions()

    def on_rows_moved(self, message: Rows.Moved) -> None:
        self._show_facts()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        message.stop()
        self.post_message(self.Run(message.row))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return None if action in ("run", "switch") and self._current is None else True

    def action_run(self) -> None:
        self.table.choose()

    def action_switch(self) -> None:
        if (skill := self._current) is not None:
            self.run_worker(self._switch(skill))

    async def _switch(self, skill: Skill) -> None:
        if await self.host.ask(switch_skill(self.client, skill.name, is_on=not skill.enabled)) is not None:
            self.notify(f"{skill.name} is {'disabled' if skill.enabled else 'enabled'}.", markup=False)
            skills = await self.host.ask(list_skills(self.client))
            if skills is not None:
                self.show(skills.data)
