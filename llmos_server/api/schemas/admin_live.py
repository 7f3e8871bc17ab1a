"""Wire structs of what administrators watch: /admin/v1/overview, /admin/v1/live and /admin/v1/models/pages."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from llmos_server.contracts import EngineState, ModelKind


class Histogram(Struct, kw_only=True):
    """Seconds, since the server's start."""

    bounds: list[float]
    counts: list[int]
    """One more than bounds, not cumulative: at most each bound; the last one, above all of them."""
    sum: float


class Pages(Struct, kw_only=True):
    """Of a decoder's KV cache, by what they are."""

    page_size: int
    """Tokens."""
    num_pages: int
    """All of these together; what was given back for a job is none of them."""
    num_free: int
    """They hold nothing."""
    num_cached: int
    """Nobody uses them; they are found by what they hold."""
    num_used: int
    """By one sequence."""
    num_shared: int
    """By two or more."""


class LiveModel(Struct, kw_only=True):
    """Totals are since the server's start; those of the engine (prefix, preemptions, drafts) since its worker's."""

    name: str
    kind: ModelKind
    state: EngineState
    is_default: bool
    is_pinned: bool = False
    num_bytes: int = 0
    """By the account of the memory budget."""
    rss_bytes: int | None = None
    """Of its worker; null where none runs, or the system doesn't tell."""
    pid: int | None = None
    context_length: int | None = None
    """Most tokens of prompt and answer together; null until they are known."""
    num_running: int = 0
    num_waiting: int = 0
    """Sequences in the last step, and those that wait for one; decoders alone tell."""
    num_loading_waiters: int = 0
    """Requests that wait for the model to be loaded."""
    prompt_tokens_total: int = 0
    generation_tokens_total: int = 0
    requests_total: int = 0
    """That have ended."""
    ttft: Histogram
    """To the first token."""
    itl: Histogram
    """Between tokens."""
    pages: Pages | None = None
    """Of a decoder that is loaded."""
    prefix_queries: int = 0
    prefix_hits: int = 0
    """Prompt tokens that were looked up in the prefix cache, and found."""
    num_preemptions: int = 0
    num_drafts: int = 0
    num_draft_tokens: int = 0
    num_accepted_tokens: int = 0
    """Guessed tokens: in so many steps of a sequence, computed, right."""
    num_restarts: int = 0
    """Of the present worker, after crashes."""
    num_loads: int = 0
    num_evictions: int = 0
    load_seconds: float = 0.0
    """Of all loads together."""
    last_used: float | None = None
    failure: str | None = None
    """Why it could not be loaded."""


class Overview(Struct, kw_only=True):
    """The server at one moment. Times are Unix seconds."""

    object: Literal["overview"] = "overview"
    time: float
    started: float
    version: str
    budget_bytes: int
    used_bytes: int
    """Of all workers, by the account of the memory budget."""
    lent_bytes: int = 0
    """Of the budget, what jobs have until they end."""
    rss_bytes: int | None
    """Of the API process; null where the system doesn't tell."""
    cpu_seconds: float
    """Of the API process, user and system."""
    num_requests: int
    """In flight."""
    models: list[LiveModel]
    """All that the registry has; loaded ones first."""


class PageMap(Struct, kw_only=True):
    """A decoder's KV cache, between two steps."""

    object: Literal["page_map"] = "page_map"
    model: str
    state: EngineState
    """A model that isn't ready has no pages."""
    time: float
    page_size: int
    num_pages: int
    """Letters in `map`."""
    num_free: int
    num_cached: int
    num_used: int
    num_shared: int
    """As Pages; of the same moment."""
    map: str
    """A letter for each page, by number: "." free, "c" cached, "u" used by one sequence, "s" shared by several, "-"
    given back for a job."""
