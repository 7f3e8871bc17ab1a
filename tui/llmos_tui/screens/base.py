"""What all screens share: tabs, the connection's banner, the body, the footer; feeds that run while it is shown."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import Screen
from textual.worker import WorkType

from llmos_tui.bindings import can_now
from llmos_tui.client import Client, ClientError, Unauthorised, Unreachable
from llmos_tui.connection import Connection
from llmos_tui.feeds import Feed, run_feed
from llmos_tui.messages import FeedRefused
from llmos_tui.widgets.connection_banner import ConnectionBanner
from llmos_tui.widgets.key_bar import KeyBar
from llmos_tui.widgets.place_tabs import PlaceTabs

if TYPE_CHECKING:
    from llmos_tui.app import LLMOSApp

T = TypeVar("T")

FEEDS = "feeds"
"""Group of the workers that follow streams."""


class Body(Vertical):
    """What a screen shows between tabs and footer; greyed while there is no connection."""

    DEFAULT_CSS = """
    Body { height: 1fr; }
    """


class LLMOSScreen(Screen[None]):
    """Derive from it: see the package's docstring."""

    DEFAULT_CSS = """
    LLMOSScreen.-offline Body { opacity: 55%; }
    """

    def __init__(self, place_name: str = "") -> None:
        super().__init__()
        self.place_name = place_name
        self.is_shown = False
        self._is_following = False
        self._can: list[bool | None] = []

    # For those who derive from it

    def compose_body(self) -> ComposeResult:
        """The widgets between tabs and footer."""
        yield from ()

    def feeds(self) -> Iterable[Feed]:
        """What is followed while the screen is shown and the server there; asked each time that this begins."""
        return ()

    def came_online(self) -> None:
        """The screen is shown and the server there. Also after a lost connection and when one comes back from another
        screen: what is fetched once belongs here, so that it is never old."""

    async def ask(self, call: Awaitable[T]) -> T | None:
        """The result of one request; None after a failure, which the user has then been told."""
        try:
            return await call
        except (Unreachable, Unauthorised) as error:
            self.llmos.watch_server.doubt()
            self.notify(str(error), severity="error", markup=False)
        except ClientError as error:
            self.notify(str(error), title="Refused", severity="error", timeout=10, markup=False)
        return None

    def refresh_actions(self) -> None:
        """Has the footer drawn anew if check_action answers otherwise of a key: for news that come often."""
        now = can_now(self)
        if now != self._can:
            self._can = now
            self.refresh_bindings()

    @property
    def llmos(self) -> LLMOSApp:
        return cast("LLMOSApp", self.app)

    @property
    def client(self) -> Client:
        return self.llmos.client

    # The frame

    def compose(self) -> ComposeResult:
        tabs = [(place.name, place.key, place.title, place.purpose) for place in self.llmos.places]
        yield PlaceTabs(tabs, self.place_name, self.client.root)
        yield ConnectionBanner()
        with Body():
            yield from self.compose_body()
        yield KeyBar()

    def on_mount(self) -> None:
        self._show_connection(self.llmos.connection)

    def on_screen_resume(self) -> None:
        self.is_shown = True
        self._show_connection(self.llmos.connection)
        self.call_after_refresh(self._begin)

    def on_screen_suspend(self) -> None:
        self.is_shown = False
        self._end()

    def connection_changed(self, connection: Connection) -> None:
        """Called by the app."""
        self._show_connection(connection)
        self._end()
        self.call_after_refresh(self._begin)

    def _show_connection(self, connection: Connection) -> None:
        self.set_class(not connection.is_online, "-offline")
        for banner in self.query(ConnectionBanner):
            banner.show(connection)
        for tabs in self.query(PlaceTabs):
            tabs.show(connection)
        self.refresh_bindings()

    def restart_feeds(self) -> None:
        """After what feeds() gives has changed."""
        self._end()
        self._follow()

    def _begin(self) -> None:
        if self.is_shown and self.llmos.connection.is_online and not self._is_following:
            self._follow()
            self.came_online()

    def _follow(self) -> None:
        if self.is_shown and self.llmos.connection.is_online:
            self._is_following = True
            for feed in self.feeds():
                # A partial: of a worker that is cancelled before it begins, a coroutine would be left over.
                work: WorkType[None] = partial(run_feed, feed, self.client, self, self.llmos.watch_server.doubt)
                self.run_worker(work, group=FEEDS)

    def _end(self) -> None:
        self._is_following = False
        self.workers.cancel_group(self, FEEDS)

    def on_feed_refused(self, message: FeedRefused) -> None:
        self.notify(message.reason, title="Not shown", severity="warning", markup=False)
