"""The screen of keys."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import tui_data
from llmos_tui.screens.dialog import ConfirmScreen
from llmos_tui.screens.keys.form import KeyForm, NotAField, read_field
from llmos_tui.screens.keys.made import KeyMade
from llmos_tui.screens.record import RecordScreen
from llmos_tui.widgets.field import Field
from llmos_tui.widgets.key_table import KeyTable
from tui_fake_server import Asked, FakeServer, Refusal
from tui_snapshots import SIZES, check_snapshot

from llmos_server.api.schemas.admin import KeyInfo, KeyList

NOW = int(tui_data.NOW)
SECRET = "sk-llmos-abcdefgh-secret"


def info(name: str, **changes: Any) -> KeyInfo:
    key = KeyInfo(
        id=f"key_{name}",
        name=name,
        is_admin=False,
        models=None,
        skills=None,
        tools=None,
        max_in_flight=None,
        tokens_per_minute=None,
        created=NOW,
        revoked=None,
        last_used=None,
    )
    return msgspec.structs.replace(key, **changes)


@pytest.fixture(autouse=True)
def keys(server: FakeServer) -> list[KeyInfo]:
    """A server that makes, changes and revokes."""
    rows = [
        info("old", revoked=NOW - 5, created=NOW - 900_000),
        info("ops", is_admin=True, created=NOW - 2, last_used=NOW),
        info("laptop", models=["smollm2:135m"], skills=[], max_in_flight=2, tokens_per_minute=20_000),
    ]

    def make(asked: Asked) -> KeyInfo:
        rows.append(info(asked.body["name"], created=NOW + 9, is_admin=asked.body["is_admin"]))
        return msgspec.structs.replace(rows[-1], key=SECRET)

    def change(asked: Asked) -> KeyInfo:
        rows[2] = msgspec.structs.replace(rows[2], **asked.body)
        return rows[2]

    def revoke(asked: Asked) -> KeyInfo:
        rows[2] = msgspec.structs.replace(rows[2], revoked=NOW)
        return rows[2]

    server.on("GET", "/admin/v1/keys", lambda asked: KeyList(data=rows))
    server.on("POST", "/admin/v1/keys", make)
    server.on("PATCH", "/admin/v1/keys/{}", change)
    server.on("DELETE", "/admin/v1/keys/{}", revoke)
    return rows


def names(pilot) -> list[str]:
    return [key.name for key in pilot.app.screen_stack[1].query_one(KeyTable).rows]


def told(server: FakeServer, method: str) -> list[tuple[tuple[str, ...], Any]]:
    return [(asked.parts, asked.body) for asked in server.asked if asked.method == method]


@pytest.mark.parametrize("size", SIZES)
async def test_as_it_looks(open_app, size) -> None:
    async with open_app(size=size, place="keys") as pilot:
        await check_snapshot(pilot, "keys")


async def test_a_new_key_is_shown_once_and_can_be_copied(open_app, server, wait_for) -> None:
    async with open_app(size=(80, 24), place="keys") as pilot:
        assert names(pilot) == ["laptop", "ops", "old"]
        await pilot.press("n", *"bob", "tab", *"a, b", "tab", "tab", "tab", *"4", "enter")
        await wait_for(pilot, lambda: isinstance(pilot.app.screen, KeyMade))
        assert told(server, "POST") == [
            ((), {"name": "bob", "models": ["a", "b"], "max_in_flight": 4, "is_admin": False})
        ]
        assert SECRET in pilot.app.export_screenshot()
        await pilot.press("c")
        assert pilot.app.clipboard == SECRET
        await pilot.press("escape")
        await wait_for(pilot, lambda: names(pilot)[0] == "bob")
        await pilot.press("home", "enter")
        assert isinstance(pilot.app.screen, RecordScreen)
        assert SECRET not in pilot.app.export_screenshot()


async def test_the_form_says_what_can_not_be(open_app, server, wait_for) -> None:
    server.on("POST", "/admin/v1/keys", Refusal(400, "A living key is called bob.", "key_exists"))
    async with open_app(size=(80, 24), place="keys") as pilot:
        await pilot.press("n", "enter")
        assert isinstance(pilot.app.screen, KeyForm)
        assert "has a name" in pilot.app.screen.query_one("#form-error").render().plain
        await check_snapshot(pilot, "key-form")
        await pilot.press(*"bob", "enter")
        await wait_for(pilot, lambda: pilot.app._notifications)
        assert [n.message for n in pilot.app._notifications] == ["A living key is called bob."]


async def test_only_what_was_changed_is_sent(open_app, server, wait_for) -> None:
    async with open_app(place="keys") as pilot:
        await pilot.press("l")
        form = pilot.app.screen
        values = {field.id: field.value for field in form.query(Field)}
        assert values == {
            "form-name": "laptop",
            "form-models": "smollm2:135m",
            "form-skills": "-",
            "form-tools": "",
            "form-max_in_flight": "2",
            "form-tokens_per_minute": "20000",
        }
        form.query_one("#form-tokens_per_minute", Field).value = ""
        await pilot.press("enter")
        await wait_for(pilot, lambda: told(server, "PATCH") == [(("key_laptop",), {"tokens_per_minute": None})])
        await pilot.press("l", "enter")  # Nothing is changed, and nothing is sent.
        assert len(told(server, "PATCH")) == 1


async def test_a_key_is_revoked_only_after_a_question(open_app, server, wait_for) -> None:
    async with open_app(place="keys") as pilot:
        await pilot.press("x")
        assert isinstance(pilot.app.screen, ConfirmScreen)
        await pilot.press("n", "x", "y")
        await wait_for(pilot, lambda: names(pilot) == ["ops", "laptop", "old"])
        assert told(server, "DELETE") == [(("key_laptop",), None)]
        await pilot.press("end", "x", "l")  # What is revoked has nothing to be changed.
        assert pilot.app.screen.place_name == "keys"


@pytest.mark.parametrize("text", ["0", "-1", "many", "²", "1.5"])
def test_limits_are_whole_numbers(text: str) -> None:
    with pytest.raises(NotAField, match="whole number"):
        read_field("max_in_flight", text)
