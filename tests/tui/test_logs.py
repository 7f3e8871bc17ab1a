"""The screen of the log."""

from __future__ import annotations

import pytest
import tui_logs_data as data
from llmos_tui.log_lines import DROP, MAX_LINES, LogLines
from llmos_tui.screens.record import RecordScreen
from llmos_tui.widgets.field import Field
from llmos_tui.widgets.line import Line
from llmos_tui.widgets.log_table import LogTable
from llmos_tui.wire.logs import LogGap, LogLine, LogPage
from tui_fake_server import FakeServer, Refusal, Stream
from tui_snapshots import SIZES, check_snapshot

PATH = "/admin/v1/logs"


@pytest.fixture(autouse=True)
def stream(server: FakeServer) -> Stream:
    server.on("GET", PATH, data.page(100, 10, before="log-100"))
    return server.stream("GET", PATH)


def state(pilot) -> str:
    return pilot.app.screen.query_one("#log-state", Line).text


def table(pilot) -> LogTable:
    return pilot.app.screen.query_one(LogTable)


def followed(server: FakeServer) -> list[dict[str, str]]:
    return [asked.query for asked in server.requests("GET", PATH) if "follow" in asked.query]


@pytest.mark.parametrize("size", SIZES)
async def test_as_it_looks(open_app, size) -> None:
    async with open_app(size=size, place="logs") as pilot:
        await pilot.press("slash", *"model", "enter")
        await check_snapshot(pilot, "logs")


async def test_new_lines_are_followed_until_the_cursor_is_moved(open_app, server, stream, wait_for) -> None:
    async with open_app(place="logs") as pilot:
        await wait_for(pilot, lambda: followed(server) == [{"after": "log-110", "follow": "true"}])
        stream.send("log", data.line(110))
        stream.send("gap", data.gap())
        await wait_for(pilot, lambda: len(table(pilot).rows) == 12)
        assert table(pilot).cursor == 11
        assert "following" in state(pilot)
        assert table(pilot).current.event == "... Lines were skipped here."
        await pilot.press("up")
        assert "standing still" in state(pilot)
        stream.send("log", data.line(111))
        await wait_for(pilot, lambda: len(table(pilot).rows) == 13)
        assert table(pilot).cursor == 10
        await pilot.press("f")
        assert table(pilot).cursor == 12


async def test_filters_are_the_servers(open_app, server, wait_for) -> None:
    async with open_app(place="logs") as pilot:
        await pilot.press("l", "l")
        await wait_for(pilot, lambda: followed(server)[-1].get("level") == "warning")
        await pilot.press("c", *"died", "enter")
        await wait_for(pilot, lambda: followed(server)[-1].get("contains") == "died")
        pages = [asked.query for asked in server.requests("GET", PATH) if "limit" in asked.query]
        assert pages[-1] == {"level": "warning", "contains": "died", "limit": "1000"}
        assert "level warning and above" in state(pilot)


async def test_a_search_goes_round_and_marks_what_it_found(open_app, wait_for) -> None:
    async with open_app(place="logs") as pilot:
        await pilot.press("slash", *"WORKER", "enter")
        assert table(pilot).current.fields["n"] == 108
        await pilot.press("n")
        assert table(pilot).current.fields["n"] == 103
        await pilot.press("N")
        assert table(pilot).current.fields["n"] == 108
        found = table(pilot).get_component_rich_style("log--found").bgcolor
        marked = [s.text for s in table(pilot).render_line(table(pilot).cursor + 1) if s.style.bgcolor == found]
        assert marked == ["worker"]
        pilot.app.screen.query_one("#search", Field).value = "nowhere"
        await pilot.press("n")
        await wait_for(pilot, lambda: pilot.app._notifications)
        assert table(pilot).current.fields["n"] == 108


async def test_older_lines_come_before_the_first(open_app, server, wait_for) -> None:
    older = [data.page(0, 0, before="log-50"), data.page(40, 10, before=None)]
    async with open_app(place="logs") as pilot:
        assert "more before these" in state(pilot)
        server.on("GET", PATH, lambda asked: older.pop(0))
        await pilot.press("o")
        await wait_for(pilot, lambda: len(table(pilot).rows) == 20)
        assert table(pilot).current.fields["n"] == 49
        assert "from the log's beginning" in state(pilot)
        assert [asked.query.get("before") for asked in server.requests("GET", PATH)[-2:]] == ["log-100", "log-50"]


async def test_a_lost_connection_goes_on_after_the_last_line(open_app, server, stream, wait_for) -> None:
    async with open_app(place="logs") as pilot:
        await wait_for(pilot, lambda: stream.num_readers == 1)
        stream.cut()
        await wait_for(pilot, lambda: followed(server)[-1]["after"] == "log-109")
        stream.send("log", data.line(109))  # The server tells the line behind that place, which is here already.
        stream.send("log", data.line(110))
        await wait_for(pilot, lambda: len(table(pilot).rows) == 11)


async def test_a_place_that_the_server_does_not_know_any_more_begins_anew(open_app, server, stream, wait_for) -> None:
    async with open_app(place="logs") as pilot:
        await wait_for(pilot, lambda: stream.num_readers == 1)
        server._streams.pop(PATH)
        server.on(
            "GET", PATH, lambda asked: Refusal(400, "No such place.") if "after" in asked.query else data.page(0, 3)
        )
        stream.cut()
        await wait_for(pilot, lambda: len(table(pilot).rows) == 3)


async def test_a_line_is_shown_whole(open_app) -> None:
    async with open_app(size=(80, 24), place="logs") as pilot:
        await pilot.press("up", "enter")
        assert isinstance(pilot.app.screen, RecordScreen)
        shown = pilot.app.export_screenshot().replace("&#160;", " ")
        for text in ("2026-09-21 14:15:08 UTC", "worker died", "killed by the system"):
            assert text in shown


def lines_of(count: int, first: int = 0) -> list[LogLine]:
    return [LogLine(event=f"event {n}", cursor=f"log-{n}") for n in range(first, first + count)]


async def test_a_hundred_thousand_lines_cost_what_is_seen(open_app, wait_for) -> None:
    async with open_app(size=(80, 24), place="logs") as pilot:
        screen = pilot.app.screen
        screen._lines.start(LogPage(data=lines_of(MAX_LINES - 1)))
        drawn: list[int] = []
        draw = table(pilot)._draw_row
        table(pilot)._draw_row = lambda row, is_current: drawn.append(1) or draw(row, is_current=is_current)
        screen._take(LogLine(event="the last", cursor="log-x"))
        screen.post_message(screen._take(LogGap(reason="gap")))
        await wait_for(pilot, lambda: "90,001 lines" in state(pilot))
        await pilot.press("pageup", "home", "end")
        assert len(drawn) < 400
        assert table(pilot).current.event == "... gap"


def test_the_oldest_go_where_there_is_no_more_room() -> None:
    lines = LogLines()
    lines.start(LogPage(data=lines_of(MAX_LINES)))
    view = lines.view
    lines.add(LogLine(event="new", cursor="new"))
    assert len(lines) == MAX_LINES - DROP + 1
    assert lines.before == f"log-{DROP}"
    assert (len(view), view[0].event, view[-1].event) == (MAX_LINES, "event 0", f"event {MAX_LINES - 1}")
    assert lines.add_older(LogPage(data=lines_of(DROP + 5, first=-5), before="log--5")) == DROP - 1
    assert len(lines) == MAX_LINES
    assert lines.before is None
    assert lines.find("event 5", 0, -1) is not None


def test_a_view_stays_as_it_was() -> None:
    lines = LogLines()
    lines.start(LogPage(data=lines_of(3)))
    view = lines.view
    lines.add(LogLine(event="new", cursor="new"))
    assert [line.event for line in view] == ["event 0", "event 1", "event 2"]
    assert len(view[1:]) == 2
    with pytest.raises(IndexError):
        view[3]
    assert lines.last_cursor == "new"
