"""A line under the tabs that is there only while the connection isn't."""

from __future__ import annotations

from textual.widgets import Static

from llmos_tui.connection import Connection, State


class ConnectionBanner(Static):
    """What is wrong with the connection, and what happens next."""

    DEFAULT_CSS = """
    ConnectionBanner {
        display: none;
        width: 1fr;
        height: auto;
        max-height: 5;
        padding: 0 1;
        background: $warning;
        color: $background;
        text-style: bold;
    }
    ConnectionBanner.-shown { display: block; }
    ConnectionBanner.-unauthorised, ConnectionBanner.-unusable { background: $error; }
    """

    def __init__(self) -> None:
        super().__init__("", markup=False)

    def show(self, connection: Connection) -> None:
        self.set_class(not connection.is_online, "-shown")
        for state in State:
            self.set_class(connection.state is state, f"-{state.value}")
        self.update(describe(connection))


def describe(connection: Connection) -> str:
    if connection.state is State.CONNECTING:
        return "Looking for the server ..."
    if connection.state is State.LOST:
        return f"{connection.reason} Tried again by itself (r: now). What is below is from before."
    if connection.state is State.UNAUTHORISED:
        return (
            "The server refuses the key. Name an administrator's with --key or LLMOS_API_KEY; on the server's machine "
            f"LLMOS_HOME/admin.token holds one. {connection.reason}"
        )
    return connection.reason
