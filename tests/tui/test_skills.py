"""The screen of skills, and the forms that are made from their schemas."""

from __future__ import annotations

from typing import Any

import pytest
import tui_skills_data as data
from llmos_tui.screens.skills.run_view import SkillRunView
from llmos_tui.skill_form import NotAValue, form_fields, read_value, read_values
from llmos_tui.widgets.line import Line
from textual.widgets import TextArea
from tui_fake_server import FakeServer
from tui_snapshots import SIZES, check_snapshot

from llmos_server.api.schemas.admin_skills import AdminSkillList
from llmos_server.api.schemas.skills import SkillEvent

RUN = "/v1/skills/translation/run"


@pytest.fixture(autouse=True)
def skills(server: FakeServer) -> list[Any]:
    rows = data.skills()
    server.on("GET", "/admin/v1/skills", lambda asked: AdminSkillList(data=rows))
    return rows


def facts(pilot) -> str:
    return pilot.app.screen.query_one("#skill-facts").render().plain


def state(pilot) -> str:
    return pilot.app.screen.query_one("#run-state", Line).text


def text(pilot) -> str:
    return pilot.app.screen.query_one("#run-text").render().plain


@pytest.mark.parametrize("size", SIZES)
async def test_as_it_looks(open_app, size) -> None:
    async with open_app(size=size, place="skills") as pilot:
        await check_snapshot(pilot, "skills")
        await pilot.press("enter")
        await check_snapshot(pilot, "skill-form")


async def test_scores_and_errors_are_told_and_it_is_switched(open_app, server, skills, wait_for) -> None:
    server.on("POST", "/admin/v1/skills/{}/disable", skills[0])
    server.on("POST", "/admin/v1/skills/{}/enable", skills[1])
    async with open_app(place="skills") as pilot:
        assert "chrf 0.412 with smollm2:135m (version 1.2.0, 40 cases, 2 failed)" in facts(pilot)
        assert "KeyError failed (skill.py:33)  req_1" in facts(pilot)
        await pilot.press("d")
        await wait_for(pilot, lambda: pilot.app._notifications)
        await pilot.press("down")
        assert "No score" in facts(pilot)
        await pilot.press("d")
        await wait_for(pilot, lambda: len(pilot.app._notifications) == 2)
        told = [(asked.path, asked.parts) for asked in server.asked if asked.method == "POST"]
        assert told == [
            ("/admin/v1/skills/translation/disable", ("translation",)),
            ("/admin/v1/skills/classify-all/enable", ("classify-all",)),
        ]


async def test_a_skill_is_run_with_what_the_form_says(open_app, server: FakeServer, wait_for) -> None:
    progress = SkillEvent(type="progress", done=1, total=2, note="part 1")
    stream = server.stream("POST", RUN, ("progress", progress), ("text", SkillEvent(type="text", text="Guten ")))
    async with open_app(size=(80, 24), place="skills") as pilot:
        await pilot.press("enter")
        form = pilot.app.screen.query_one(SkillRunView)
        assert pilot.app.focused is form.input("text")
        await pilot.press("ctrl+r")
        assert state(pilot) == "text is needed."
        await pilot.press(*"Good", "enter", *"day", "tab", *"de")
        form.input("glossary").value = '{"day": "Tag"}'
        form.input("formality").action_turn(1)
        await pilot.press("enter")
        await wait_for(pilot, lambda: text(pilot) == "Guten ")
        assert state(pilot) == "running ... 1 of 2 part 1"
        body = server.requests("POST", RUN)[0].body
        assert body == {
            "text": "Good\nday",
            "target": "de",
            "glossary": {"day": "Tag"},
            "formality": "formal",
            "stream": True,
        }
        stream.send("result", data.result())
        await wait_for(pilot, lambda: text(pilot).startswith("Guten Morgen"))
        assert '"num_parts": 1' in text(pilot)
        assert "40 + 5 tokens · measured at 0.3, below the skill's minimum of 0.35" in state(pilot)
        await pilot.press("escape", "escape")
        assert pilot.app.focused.id == "skills"
        await pilot.press("enter")
        assert pilot.app.screen.query_one(TextArea).text == "Good\nday"


async def test_names_of_fields_need_not_be_fit_for_the_screen(open_app, server: FakeServer, skills, wait_for) -> None:
    skills[0] = data.skill(input_schema={"properties": {"größe [/m]": {"type": "integer"}}}, text_field="x")
    server.stream("POST", RUN, ("result", data.result()))
    async with open_app(place="skills") as pilot:
        await pilot.press("enter", "7", "enter")
        await wait_for(pilot, lambda: text(pilot).startswith("Guten Morgen"))
        assert server.requests("POST", RUN)[0].body == {"größe [/m]": 7, "stream": True}


async def test_a_run_that_fails_says_why_and_one_that_is_stopped_ends(open_app, server: FakeServer, wait_for) -> None:
    server.stream("POST", RUN, ("error", {"error": {"message": "The model isn't loaded.", "code": "x"}}))
    async with open_app(place="skills") as pilot:
        await pilot.press("enter", "x", "tab", "d", "e", "enter")
        await wait_for(pilot, lambda: state(pilot) == "The model isn't loaded.")
        stream = server.stream("POST", RUN, ("progress", SkillEvent(type="progress", done=0.5, total=None)))
        await pilot.press("ctrl+r")
        await wait_for(pilot, lambda: state(pilot).startswith("running ... 0.5"))
        await pilot.press("ctrl+t")
        await wait_for(pilot, lambda: stream.num_readers == 0)
        assert state(pilot) == "Stopped."


def test_fields_are_made_from_a_schema() -> None:
    fields = {field.name: field for field in form_fields(data.SCHEMA)}
    assert list(fields) == ["task", "labels", "fast", "style", "size", "share", "terms"]
    kinds = [field.kind for field in fields.values()]
    assert kinds == ["choice", "names", "bool", "choice", "int", "float", "json"]
    assert fields["task"].choices == ("write", "fix")
    assert fields["style"].choices == ("bold", "plain")
    assert fields["fast"].choices == ("yes", "no")
    assert fields["size"].hint == "a whole number; from 1 to 9; else 4"
    translation = {field.name: field for field in form_fields(data.skill().input_schema)}
    assert translation["formality"].choices == ("", "formal", "informal")
    assert (translation["source"].kind, translation["source"].is_long) == ("text", False)
    assert translation["text"].is_long


def test_values_are_read_as_the_schema_has_them() -> None:
    fields = form_fields(data.SCHEMA)
    written = {"task": "fix", "labels": "a, b", "fast": "no", "size": "3", "share": "0.5", "terms": '{"a": "b"}'}
    assert read_values(fields, written) == {
        "task": "fix",
        "labels": ["a", "b"],
        "fast": False,
        "size": 3,
        "share": 0.5,
        "terms": {"a": "b"},
    }
    by_name = {field.name: field for field in fields}
    assert read_value(by_name["labels"], '["a", {"name": "b"}]') == ["a", {"name": "b"}]
    with pytest.raises(NotAValue, match="labels is needed"):
        read_values(fields, {"task": "fix"})
    for name, text in (("size", "1.5"), ("size", "true"), ("share", '"a"'), ("terms", "{"), ("size", "Infinity")):
        with pytest.raises(NotAValue, match=name):
            read_value(by_name[name], text)
