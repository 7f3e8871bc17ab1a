"""What the server is doing: /admin/v1/overview, /admin/v1/requests, /admin/v1/models/pages."""

from __future__ import annotations

from typing import Any

from llmos_tui.wire.common import Wire


class Histogram(Wire, frozen=True, kw_only=True):
    """Of seconds, since the start. counts has one more than bounds: what is above the last one. Not cumulative."""

    bounds: list[float] = []
    counts: list[int] = []
    sum: float = 0.0


class Pages(Wire, frozen=True, kw_only=True):
    """Of the KV cache, in pages of page_size tokens."""

    num_pages: int = 0
    num_free: int = 0
    num_cached: int = 0
    num_used: int = 0
    num_shared: int = 0
    page_size: int = 0


class LiveModel(Wire, frozen=True, kw_only=True):
    """One model, loaded or not; times in Unix seconds, totals since its worker's first start."""

    name: str
    kind: str = ""
    state: str = ""
    is_default: bool = False
    is_pinned: bool = False
    num_bytes: int = 0
    rss_bytes: int | None = None
    pid: int | None = None
    num_running: int = 0
    num_waiting: int = 0
    num_loading_waiters: int = 0
    prompt_tokens_total: int = 0
    generation_tokens_total: int = 0
    requests_total: int = 0
    ttft: Histogram = Histogram()
    itl: Histogram = Histogram()
    pages: Pages | None = None
    prefix_queries: int = 0
    prefix_hits: int = 0
    num_preemptions: int = 0
    num_drafts: int = 0
    num_draft_tokens: int = 0
    num_accepted_tokens: int = 0
    num_restarts: int = 0
    num_loads: int = 0
    num_evictions: int = 0
    load_seconds: float | None = None
    last_used: float | None = None
    failure: str | None = None
    context_length: int | None = None


class Overview(Wire, frozen=True, kw_only=True):
    """The whole server at one time."""

    time: float
    started: float = 0.0
    version: str = ""
    budget_bytes: int = 0
    used_bytes: int = 0
    lent_bytes: int = 0
    rss_bytes: int | None = None
    cpu_seconds: float = 0.0
    num_requests: int = 0
    models: list[LiveModel] = []


class InFlight(Wire, frozen=True, kw_only=True):
    """One request; the detail has what the list has not. Never a prompt or an answer."""

    id: str
    model: str | None = None
    endpoint: str = ""
    key: str = ""
    client: str = ""
    state: str = ""
    started: float = 0.0
    age_seconds: float = 0.0
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int = 0
    num_choices: int = 1
    ttft_seconds: float | None = None
    tokens_per_second: float | None = None
    is_stream: bool = False
    sampling: dict[str, Any] | None = None
    grammar: bool = False
    tools: list[str] = []


class InFlightList(Wire, frozen=True, kw_only=True):
    """All of them, up to the server's bound; num_more are beyond it."""

    data: list[InFlight] = []
    num_more: int = 0


class Aborted(Wire, frozen=True, kw_only=True):
    """A request was ended."""

    id: str = ""
    aborted: bool = True


class PageMap(Wire, frozen=True, kw_only=True):
    """A letter a page in the order of their numbers: "." free, "c" cached, "u" used by one, "s" shared."""

    model: str = ""
    time: float = 0.0
    page_size: int = 0
    num_pages: int = 0
    map: str = ""
