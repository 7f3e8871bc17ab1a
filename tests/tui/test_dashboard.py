"""What the server is doing, as it is told."""

from __future__ import annotations

import pytest
import tui_data
from llmos_tui.screens.dashboard.request import RequestScreen
from llmos_tui.screens.dialog import ConfirmScreen
from llmos_tui.widgets.model_panel import ModelPanel
from llmos_tui.widgets.request_table import RequestTable
from textual.widget import Widget
from tui_fake_server import FakeServer, Refusal
from tui_snapshots import SIZES, check_snapshot

LIVE = "/admin/v1/live"


async def watch(pilot, server: FakeServer, seconds: int = 90) -> None:
    for second in range(1, seconds + 1):
        server.feed(LIVE).send("overview", tui_data.overview(second))
        if second % 10 == 0:
            await pilot.pause()
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES)
async def test_as_it_looks(open_app, server: FakeServer, size: tuple[int, int]) -> None:
    async with open_app(size=size) as pilot:
        await watch(pilot, server)
        await check_snapshot(pilot, "dashboard")
        await pilot.press("d", "right_square_bracket")
        await pilot.pause()
        await check_snapshot(pilot, "dashboard-encoder")


@pytest.mark.parametrize("size", SIZES)
async def test_a_request_as_it_looks(open_app, size: tuple[int, int]) -> None:
    async with open_app(size=size) as pilot:
        await pilot.press("enter")
        await check_snapshot(pilot, "request")


async def test_all_of_it_is_there_at_80_columns(open_app, server: FakeServer, sees) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await watch(pilot, server)
        text = sees(pilot)
    for words in (
        "smollm2:135m  decoder  ready  default  pinned  1/2",
        "running 6 · waiting 2 · prefix hits 55 % (last minute 56 %)",
        "412 MB of 4.0 GB · 530 MB resident",
        "process 4242 · restarts 1",
        "in 900 tok/s, top 900",
        "out 310 tok/s, top 310",
        "TTFT 60 s: p50",
        "ITL 60 s: p50",
        "512 pages ▚ 48 shared  █ 160 used  ▒ 240 cached  · 64 free",
        "Requests in flight: 3",
        "generating",
        "queued",
    ):
        assert words in text, text


async def test_wide_terminals_show_several_models(open_app, server: FakeServer) -> None:
    models = [tui_data.decoder(name=f"model{n}") for n in range(5)]
    server.feed(LIVE).send("overview", tui_data.overview(0, models))
    async with open_app(size=(200, 60)) as pilot:
        panels = [panel for panel in pilot.app.screen.query(ModelPanel) if panel.display]
        assert [str(panel.border_title).split()[0] for panel in panels] == ["model0", "model1", "model2"]
        assert {asked.query["model"] for asked in server.requests("GET", "/admin/v1/models/pages")} >= {
            "model0",
            "model1",
            "model2",
        }
        await pilot.press("left_square_bracket")
        assert str(panels[0].border_title).split()[0] == "model4"
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert [panel.display for panel in pilot.app.screen.query(ModelPanel)] == [True, False, False, False]


async def test_nothing_is_followed_that_nobody_sees(open_app, server: FakeServer, wait_for) -> None:
    async with open_app() as pilot:
        streams = [server.feed(path) for path in (LIVE, "/admin/v1/requests", "/admin/v1/models/pages")]
        await wait_for(pilot, lambda: [stream.num_readers for stream in streams] == [1, 1, 1])
        await pilot.press("8")
        await wait_for(pilot, lambda: [stream.num_readers for stream in streams] == [0, 0, 0])
        await pilot.press("1")
        await wait_for(pilot, lambda: [stream.num_readers for stream in streams] == [1, 1, 1])


async def test_a_server_that_went_and_came_is_followed_again(open_app, server: FakeServer, wait_for, sees) -> None:
    async with open_app() as pilot:
        await wait_for(pilot, lambda: server.feed(LIVE).num_readers == 1)
        server.go_down()
        await wait_for(pilot, lambda: not pilot.app.connection.is_online)
        await pilot.pause()
        assert "smollm2:135m  decoder" in sees(pilot)  # As it was.
        server.is_up = True
        server.feed(LIVE).send("overview", tui_data.overview(5, [tui_data.decoder(5, num_running=77)]))
        await wait_for(pilot, lambda: "running 77" in sees(pilot))


async def test_a_stream_that_ends_in_order_is_opened_again(open_app, server: FakeServer, wait_for) -> None:
    async with open_app() as pilot:
        await wait_for(pilot, lambda: server.feed(LIVE).num_readers == 1)
        count = len(server.requests("GET", LIVE))
        server.feed(LIVE).end()
        await wait_for(pilot, lambda: len(server.requests("GET", LIVE)) > count)


async def test_what_a_server_does_not_give_is_told_once(open_app, server: FakeServer, wait_for, sees) -> None:
    server._streams.pop("/admin/v1/requests")
    server.on("GET", "/admin/v1/requests", lambda asked: Refusal(404, "There are no requests here."))
    async with open_app() as pilot:
        await wait_for(pilot, lambda: "There are no requests here." in sees(pilot))
        assert "smollm2:135m  decoder" in sees(pilot)


async def test_a_request_is_aborted_after_a_question(open_app, server: FakeServer, wait_for, sees) -> None:
    server.on("DELETE", "/admin/v1/requests/{}", lambda asked: {"id": asked.parts[0], "aborted": True})
    async with open_app() as pilot:
        await pilot.press("down", "x")
        assert isinstance(pilot.app.screen, ConfirmScreen)
        await pilot.press("n")
        assert not [asked for asked in server.asked if asked.method == "DELETE"]
        await pilot.press("delete", "y")
        await wait_for(pilot, lambda: "req_0002 was aborted" in sees(pilot))
        assert [asked.parts for asked in server.asked if asked.method == "DELETE"] == [("req_0002",)]


async def test_one_that_has_ended_meanwhile_is_told(open_app, server: FakeServer, wait_for, sees) -> None:
    async with open_app(size=(80, 24)) as pilot:
        server.on("GET", "/admin/v1/requests/{}", lambda asked: Refusal(404, "No such request."))
        server.on("DELETE", "/admin/v1/requests/{}", lambda asked: Refusal(404, "No such request."))
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, RequestScreen)
        await wait_for(pilot, lambda: "It has ended." in sees(pilot))
        await pilot.press("x")
        await pilot.click("#yes")
        await wait_for(pilot, lambda: "No such request." in sees(pilot))


async def test_the_table_takes_as_many_as_there_are(open_app, server: FakeServer, wait_for, sees) -> None:
    rows = [tui_data.request(n, state="queued") for n in range(1000)]
    server.feed("/admin/v1/requests").send("requests", {"data": rows, "num_more": 23})
    async with open_app() as pilot:
        await wait_for(pilot, lambda: "Requests in flight: 1023, 1000 of them listed" in sees(pilot))
        await pilot.press("end")
        assert pilot.app.screen.query_one(RequestTable).current.id == "req_0999"


async def test_without_requests_there_is_nothing_to_inspect(open_app, server: FakeServer, sees) -> None:
    server.feed("/admin/v1/requests").send("requests", {"data": [], "num_more": 0})
    async with open_app() as pilot:
        await pilot.press("enter", "x")
        assert pilot.app.screen.place_name == "dashboard"
        assert "No request is in flight." in sees(pilot)


async def test_a_model_that_failed_says_why(open_app, server: FakeServer, sees) -> None:
    failed = tui_data.decoder(state="failed", failure="its file is damaged [x]", pid=None, pages=None)
    server.feed(LIVE).send("overview", tui_data.overview(0, [failed]))
    async with open_app(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "failed: its file is damaged [x]" in sees(pilot)


async def test_a_server_without_models_is_shown(open_app, server: FakeServer, sees) -> None:
    server.feed(LIVE).send("overview", tui_data.overview(0, []))
    async with open_app() as pilot:
        await pilot.press("right_square_bracket", "d")
        assert "LLMOS 0.1.0" in sees(pilot)


async def test_an_update_draws_only_what_changed(open_app, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """So nothing flickers at ten updates a second: what is as it was is not sent to the terminal again."""
    async with open_app(size=(140, 40)) as pilot:
        await watch(pilot, server)
        drawn: set[str] = set()
        refresh = Widget.refresh

        def noted(self: Widget, *regions: object, **options: object) -> Widget:
            drawn.add(self.id or type(self).__name__)
            return refresh(self, *regions, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(Widget, "refresh", noted)
        same = tui_data.overview(90, [{**tui_data.decoder(90), "last_used": tui_data.NOW + 90}, tui_data.encoder()])
        server.feed(LIVE).send("overview", same)  # What it told last, once more.
        server.feed("/admin/v1/requests").send("requests", tui_data.requests())
        server.feed("/admin/v1/models/pages").send("pages", tui_data.page_map())
        for _ in range(3):
            await pilot.pause()
        assert drawn == set()
        server.feed(LIVE).send(
            "overview", tui_data.overview(90, [tui_data.decoder(90, num_waiting=5), tui_data.encoder()])
        )
        for _ in range(3):
            await pilot.pause()
        assert drawn == {"facts"}


async def test_before_the_first_news_no_panel_is_there(open_app, server: FakeServer) -> None:
    server.is_up = False
    async with open_app(size=(200, 60)) as pilot:
        assert not any(panel.display for panel in pilot.app.screen.query(ModelPanel))
