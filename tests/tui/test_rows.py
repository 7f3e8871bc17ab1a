"""The list that draws only what can be seen."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from llmos_tui import words
from llmos_tui.widgets.rows import Column, Rows
from textual.app import App, ComposeResult


@dataclass(frozen=True)
class Item:
    name: str
    number: int = 0


class ListApp(App[None]):
    def __init__(self, items: list[Item], drawn: list[str]) -> None:
        super().__init__()
        self.items, self.drawn, self.told = items, drawn, []

    def compose(self) -> ComposeResult:
        def name(item: Item) -> str:
            self.drawn.append(item.name)
            return item.name

        columns = [
            Column("NAME", name, 8, share=1),
            Column("NUMBER", lambda item: str(item.number), 6, is_right=True),
            Column("LESS", lambda item: "less", 20, drop=1),
        ]
        yield Rows(columns, lambda item: item.name, "Nothing is here.")

    def on_mount(self) -> None:
        self.rows.show(self.items)
        self.rows.focus()

    @property
    def rows(self) -> Rows[Item]:
        return self.query_one(Rows)

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        self.told.append(("chosen", message.row.name))

    def on_rows_moved(self, message: Rows.Moved) -> None:
        self.told.append(("moved", message.row and message.row.name))


def line(app: ListApp, y: int) -> str:
    return "".join(segment.text for segment in app.rows.render_line(y))


def items(count: int) -> list[Item]:
    return [Item(f"item{number}", number) for number in range(count)]


async def test_of_a_long_list_only_what_is_seen_is_drawn() -> None:
    drawn: list[str] = []
    app = ListApp(items(100_000), drawn)
    async with app.run_test(size=(60, 12)) as pilot:
        await pilot.press("end", "pageup", "home", "pagedown", "down")
        assert app.rows.cursor == 11
        assert line(app, 0).split() == ["NAME", "NUMBER", "LESS"]
        assert "item11 " in line(app, 11)
        assert len(drawn) < 200


async def test_what_stays_as_it_was_is_not_drawn_again() -> None:
    drawn: list[str] = []
    app = ListApp(items(50), drawn)
    async with app.run_test(size=(60, 12)) as pilot:
        await pilot.pause()
        drawn.clear()
        app.rows.show([Item("item3", 99) if item.name == "item3" else item for item in items(50)])
        await pilot.pause()
        assert drawn == ["item3"]


async def test_the_cursor_stays_on_its_row() -> None:
    app = ListApp(items(10), [])
    async with app.run_test(size=(60, 12)) as pilot:
        await pilot.press("down", "j", "j", "k")
        app.rows.show(items(10)[1:])
        assert app.rows.current == Item("item2", 2)
        app.rows.show([item for item in items(10) if item.number > 4])
        await pilot.pause()
        assert app.rows.current == Item("item6", 6)
        assert app.told[-1] == ("moved", "item6")
        app.rows.show([])
        await pilot.pause()
        assert app.rows.current is None
        assert app.told[-1] == ("moved", None)
        assert line(app, 1).strip() == "Nothing is here."


async def test_a_click_moves_and_a_second_one_chooses() -> None:
    app = ListApp(items(10), [])
    async with app.run_test(size=(60, 12)) as pilot:
        await pilot.pause()
        assert app.told == [("moved", "item0")]
        app.told.clear()
        await pilot.click(Rows, offset=(2, 4))
        assert app.told == [("moved", "item3")]
        await pilot.click(Rows, offset=(2, 4))
        await pilot.click(Rows, offset=(2, 0))
        assert app.told == [("moved", "item3"), ("chosen", "item3")]


@pytest.mark.parametrize(("width", "titles"), [(60, ["NAME", "NUMBER", "LESS"]), (30, ["NAME", "NUMBER"])])
async def test_columns_that_matter_less_go_first(width: int, titles: list[str]) -> None:
    app = ListApp([Item("a very long name that will not fit", 7)], [])
    async with app.run_test(size=(width, 8)) as pilot:
        await pilot.pause()
        assert line(app, 0).split() == titles
        assert "…" in line(app, 1)
        assert "     7" in line(app, 1)


@pytest.mark.parametrize(
    ("shown", "words_of_it"),
    [
        (words.size(412_000_000), "412 MB"),
        (words.size(4_000_000_000), "4.0 GB"),
        (words.size(12), "12 B"),
        (words.size(None), "-"),
        (words.count(9500), "9500"),
        (words.count(12_345), "12.3k"),
        (words.rate(0.44), "0.4"),
        (words.seconds(0.00085), "850 µs"),
        (words.seconds(0.012), "12 ms"),
        (words.seconds(1.44), "1.4 s"),
        (words.age(7.9), "7s"),
        (words.age(200), "3m20s"),
        (words.age(7500), "2h05m"),
        (words.age(356_400), "4d03h"),
        (words.share(1, 3), "33 %"),
        (words.share(0, 0), "-"),
        (words.moment(0), "1970-01-01 00:00:00"),
    ],
)
def test_numbers_in_words(shown: str, words_of_it: str) -> None:
    assert shown == words_of_it
