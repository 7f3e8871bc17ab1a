"""One model, live: who waits, how fast it is, what its pages hold, how its worker is."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from llmos_tui import words
from llmos_tui.history import ModelHistory
from llmos_tui.widgets.distribution import Distribution
from llmos_tui.widgets.graph import Graph
from llmos_tui.widgets.line import Line
from llmos_tui.widgets.page_map import PageMapView
from llmos_tui.widgets.usage_bar import UsageBar
from llmos_tui.wire.live import LiveModel, PageMap

BAD_STATES = ("failed", "restarting", "stopped")
WHY_NO_PAGES = {"encoder": "No pages: an encoder keeps nothing.", "classifier": "No pages: a classifier keeps nothing."}


class ModelPanel(Vertical):
    """`show()` once an update; only what changed is drawn."""

    DEFAULT_CSS = """
    ModelPanel { border: round $secondary; border-title-style: bold; padding: 0 1; height: 1fr; width: 1fr; }
    ModelPanel.-bad { border: round $error; }
    ModelPanel .pair { height: 1fr; min-height: 3; }
    ModelPanel .pair > * { width: 1fr; margin-right: 1; }
    ModelPanel PageMapView { height: 1fr; min-height: 3; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._facts = Line(id="facts")
        self._health = Line(id="health")
        self._memory = UsageBar("memory")
        self._rate_in = Graph(id="rate-in")
        self._rate_out = Graph(id="rate-out", classes="-out")
        self._ttft = Distribution(id="ttft")
        self._itl = Distribution(id="itl")
        self._pages = PageMapView()
        self._title = ""

    def compose(self) -> ComposeResult:
        yield self._facts
        yield self._memory
        yield self._health
        with Horizontal(classes="pair"):
            yield self._rate_in
            yield self._rate_out
        with Horizontal(classes="pair"):
            yield self._ttft
            yield self._itl
        yield self._pages

    def show(
        self,
        model: LiveModel,
        place: str,
        history: ModelHistory,
        pages: PageMap | None,
        *,
        now: float,
        budget_bytes: int,
        since_start: bool,
    ) -> None:
        """place: "2/5", among the models. now: the server's time. since_start: distributions of all the time."""
        title = f"{model.name}  {model.kind}  {model.state}{_marks(model)}  {place}"
        if title != self._title:
            self._title = title
            self.border_title = title.replace("[", r"\[")
        self.set_class(model.state in BAD_STATES, "-bad")
        self._facts.show(facts(model, history))
        self._health.show(health(model, now), is_bad=model.state in BAD_STATES)
        self._memory.show(model.num_bytes / budget_bytes if budget_bytes else 0.0, memory(model, budget_bytes))
        self._show_rate(self._rate_in, "in", history.rates_in, model.prompt_tokens_total)
        self._show_rate(self._rate_out, "out", history.rates_out, model.generation_tokens_total)
        self._show_times(self._ttft, "ttft", model, history, since_start=since_start)
        self._show_times(self._itl, "itl", model, history, since_start=since_start)
        self._pages.show(model.pages, pages.map if pages else "", why_no_pages(model))

    @staticmethod
    def _show_rate(graph: Graph, name: str, rates: object, total: int) -> None:
        values = [value for _, value in rates]  # type: ignore[attr-defined]
        last = values[-1] if values else 0.0
        top = max(values, default=0.0)
        graph.show(f"{name} {words.rate(last)} tok/s, top {words.rate(top)}, {words.count(total)} in all", values)

    @staticmethod
    def _show_times(
        view: Distribution, name: str, model: LiveModel, history: ModelHistory, *, since_start: bool
    ) -> None:
        window = history.window(name)
        if since_start or window is None:
            view.show(f"{name.upper()} since start:", getattr(model, name))
        else:
            view.show(f"{name.upper()} {round(window.seconds)} s:", window.histogram)


def why_no_pages(model: LiveModel) -> str:
    if model.kind in WHY_NO_PAGES:
        return WHY_NO_PAGES[model.kind]
    return "No page was used yet." if model.state == "ready" else "No pages: it isn't loaded."


def _marks(model: LiveModel) -> str:
    return ("  default" if model.is_default else "") + ("  pinned" if model.is_pinned else "")


def facts(model: LiveModel, history: ModelHistory) -> str:
    parts = [f"running {model.num_running}", f"waiting {model.num_waiting}"]
    if model.num_loading_waiters:
        parts.append(f"waiting for the load {model.num_loading_waiters}")
    if model.prefix_queries:
        parts.append(
            f"prefix hits {words.share(model.prefix_hits, model.prefix_queries)}{_recent_hits(model, history)}"
        )
    parts.append(f"preempted {model.num_preemptions}")
    if model.num_draft_tokens:
        parts.append(f"guesses right {words.share(model.num_accepted_tokens, model.num_draft_tokens)}")
    return " · ".join([*parts, f"{words.count(model.requests_total)} requests done"])


def _recent_hits(model: LiveModel, history: ModelHistory) -> str:
    sample = history.before()
    if sample is None:
        return ""
    queries = model.prefix_queries - sample[1].prefix_queries
    hits = model.prefix_hits - sample[1].prefix_hits
    return f" (last minute {words.share(hits, queries)})" if queries > 0 and hits >= 0 else ""


def memory(model: LiveModel, budget_bytes: int) -> str:
    text = f"{words.size(model.num_bytes)} of {words.size(budget_bytes)}"
    return text if model.rss_bytes is None else f"{text} · {words.size(model.rss_bytes)} resident"


def health(model: LiveModel, now: float) -> str:
    """Of the worker."""
    if model.failure:
        return f"failed: {model.failure}"
    parts = [model.state if model.pid is None else f"process {model.pid}"]
    parts.append(f"restarts {model.num_restarts}")
    parts.append(f"loads {model.num_loads}")
    if model.num_evictions:
        parts.append(f"evicted {model.num_evictions}")
    if model.context_length:
        parts.append(f"context {model.context_length}")
    if model.last_used is not None:
        parts.append(f"used {words.age(now - model.last_used)} ago")
    return " · ".join(parts)
