"""What skills there are, how good, and a try."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from textual.app import ComposeResult
from textual.widgets import ContentSwitcher

from llmos_tui.calls.polling import poll
from llmos_tui.calls.skills import list_skills
from llmos_tui.feeds import Feed
from llmos_tui.messages import SkillsArrived
from llmos_tui.screens.base import LLMOSScreen
from llmos_tui.screens.skills.list_view import SkillListView
from llmos_tui.screens.skills.run_view import SkillRunView

LOOK_SECONDS = 10.0
"""Each look is a line in the server's log."""


class SkillsScreen(LLMOSScreen):
    """The list; from there to a form, and back by esc."""

    DEFAULT_CSS = """
    SkillsScreen ContentSwitcher { height: 1fr; }
    SkillsScreen.-tall SkillFacts { height: 40%; }
    """
    BINDING_GROUP_TITLE = "Skills"

    def compose_body(self) -> ComposeResult:
        with ContentSwitcher(initial="skill-list"):
            yield SkillListView(id="skill-list")
            yield SkillRunView(id="skill-run")

    def feeds(self) -> Iterable[Feed]:
        yield Feed(partial(poll, list_skills, seconds=max(LOOK_SECONDS, self.llmos.interval)), SkillsArrived)

    def on_skills_arrived(self, message: SkillsArrived) -> None:
        self.query_one(SkillListView).show(message.skills.data)

    async def on_skill_list_view_run(self, message: SkillListView.Run) -> None:
        self.query_one(ContentSwitcher).current = "skill-run"
        await self.query_one(SkillRunView).open(message.skill)

    def on_skill_run_view_back(self, message: SkillRunView.Back) -> None:
        self.query_one(ContentSwitcher).current = "skill-list"
        self.query_one(SkillListView).table.focus()
