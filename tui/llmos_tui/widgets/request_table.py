"""The requests in flight."""

from __future__ import annotations

from llmos_tui import words
from llmos_tui.widgets.rows import Column, Look, Rows
from llmos_tui.wire.live import InFlight, InFlightList

LOOKS: dict[str, Look] = {
    "generating": "good",
    "prefill": "good",
    "running": "good",
    "queued": "warn",
    "loading": "warn",
}


def _rate(request: InFlight) -> str:
    return "-" if request.tokens_per_second is None else words.rate(request.tokens_per_second)


COLUMNS: tuple[Column[InFlight], ...] = (
    Column("STATE", lambda r: r.state, 10, look=lambda r: LOOKS.get(r.state, "plain")),
    Column("AGE", lambda r: words.age(r.age_seconds), 6, is_right=True),
    Column("MODEL", lambda r: r.model or "-", 12, share=2),
    Column("KEY", lambda r: r.key or "(none)", 11, share=1),
    Column("PROMPT", lambda r: words.count(r.prompt_tokens), 6, is_right=True),
    Column("CACHED", lambda r: words.count(r.cached_tokens), 6, is_right=True, drop=2),
    Column("ANSWER", lambda r: words.count(r.completion_tokens), 6, is_right=True),
    Column("TOK/S", _rate, 5, is_right=True, drop=1),
    Column("TTFT", lambda r: words.seconds(r.ttft_seconds), 6, is_right=True, drop=3),
    Column("ENDPOINT", lambda r: r.endpoint, 16, share=1, drop=4),
    Column("CLIENT", lambda r: r.client or "-", 14, share=1, drop=6),
    Column("ID", lambda r: r.id, 14, share=1, drop=5),
)


class RequestTable(Rows[InFlight]):
    """All of them; what is beyond the server's bound is counted on the border."""

    DEFAULT_CSS = """
    RequestTable { border-top: solid $secondary; border-title-style: bold; height: 1fr; min-height: 4; }
    """

    def __init__(self) -> None:
        super().__init__(COLUMNS, lambda request: request.id, "Not told yet.", id="requests")
        self.border_title = "Requests in flight"

    def show_requests(self, requests: InFlightList) -> None:
        self.show(requests.data, empty="No request is in flight.")
        count = len(requests.data) + requests.num_more
        more = f", {len(requests.data)} of them listed" if requests.num_more else ""
        title = f"Requests in flight: {count}{more}"
        if self.border_title != title:
            self.border_title = title
