"""All skills as a list, and one of them in words."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from llmos_tui import words
from llmos_tui.widgets.rows import Column, Look, Rows
from llmos_tui.wire.skills import Score, Skill

LOOKS: dict[str, Look] = {"on": "good", "disabled": "muted", "switched off": "bad"}


def state(skill: Skill) -> str:
    """switched off: by the server itself, for now."""
    return "disabled" if not skill.enabled else "switched off" if skill.is_switched_off else "on"


def newest_score(skill: Skill) -> str:
    return f"{skill.scores[0].score:.3f}" if skill.scores else "-"


def _look(skill: Skill) -> Look:
    return "bad" if skill.failures else "plain"


COLUMNS: tuple[Column[Skill], ...] = (
    Column("SKILL", lambda skill: skill.name, 16, share=1),
    Column("VERSION", lambda skill: skill.version, 8),
    Column("STATE", state, 12, look=lambda skill: LOOKS[state(skill)]),
    Column("RUNS", lambda skill: str(skill.runs), 6, is_right=True),
    Column(
        "FAILED", lambda skill: str(skill.failures), 6, is_right=True, look=lambda s: "bad" if s.failures else "plain"
    ),
    Column("SCORE", newest_score, 6, is_right=True),
    Column("METRIC", lambda skill: skill.metric, 10),
    Column("PLUGIN", lambda skill: skill.plugin, 14, drop=2),
    Column("WHAT IT DOES", lambda skill: skill.description, 20, share=3, drop=1),
)


class SkillTable(Rows[Skill]):
    """In the order in which the server loaded them."""

    def __init__(self) -> None:
        super().__init__(COLUMNS, lambda skill: skill.name, "No plugin brings skills.", id="skills")


class SkillFacts(VerticalScroll, can_focus=False):
    """What it does, how good it is with which model, what went wrong last."""

    DEFAULT_CSS = """
    SkillFacts { height: 8; border-top: solid $secondary; padding: 0 1; scrollbar-size-vertical: 1; }
    """

    _shown = ""

    def compose(self) -> ComposeResult:
        yield Static("", id="skill-facts")

    def show(self, skill: Skill | None) -> None:
        text = "\n".join(facts(skill)) if skill else ""
        if text != self._shown:
            self._shown = text
            self.query_one("#skill-facts", Static).update(Text(text))


def facts(skill: Skill) -> list[str]:
    asks = "" if skill.minimum_score is None else f" Its author asks for {skill.minimum_score:g} ({skill.metric})."
    kinds = f"Of {skill.plugin}, for {', '.join(skill.model_kinds) or 'no model'}.{asks}"
    scores = [*map(_score, skill.scores)] or [f"No score: llmos skills eval {skill.name}"]
    errors = [
        f"{words.moment(error.time)}  {error.type} {error.text}  {error.request_id}"
        for error in reversed(skill.last_errors)
    ]
    return [skill.description, kinds, *scores, *(errors or ["No run has failed since the server's start."])]


def _score(score: Score) -> str:
    cases = f"{score.num_cases} cases" + (f", {score.num_failed} failed" if score.num_failed else "")
    return f"{score.metric} {score.score:.3f} with {score.model} (version {score.version}, {cases})"
