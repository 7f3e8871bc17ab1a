"""What the fake server tells where a test says nothing else: two models, three requests, at a fixed time."""

from __future__ import annotations

from typing import Any

NOW = 1_790_000_000.0
"""Unix seconds: 2026-09-21 14:13:20 UTC."""

TTFT_BOUNDS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]
ITL_BOUNDS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
PAGE_MAP = ("s" * 12 + "u" * 40 + "c" * 60 + "." * 16) * 4


def histogram(bounds: list[float], counts: list[int]) -> dict[str, Any]:
    middles = [bound * 0.75 for bound in bounds] + [bounds[-1] * 1.5]
    return {"bounds": bounds, "counts": counts, "sum": sum(c * m for c, m in zip(counts, middles, strict=True))}


def decoder(second: float = 0.0, **changes: Any) -> dict[str, Any]:
    """A loaded decoder after so many seconds of load."""
    n = int(second)
    model = {
        "name": "smollm2:135m",
        "kind": "decoder",
        "state": "ready",
        "is_default": True,
        "is_pinned": True,
        "num_bytes": 412_000_000,
        "rss_bytes": 530_000_000,
        "pid": 4242,
        "num_running": 6,
        "num_waiting": 2,
        "num_loading_waiters": 0,
        "prompt_tokens_total": 120_000 + 900 * n,
        "generation_tokens_total": 45_000 + 310 * n,
        "requests_total": 640 + 3 * n,
        "ttft": histogram(TTFT_BOUNDS, [4, 20 + n, 130 + 2 * n, 210, 160, 80, 26, 8, 2, 0]),
        "itl": histogram(ITL_BOUNDS, [200, 4100 + 40 * n, 21_000 + 200 * n, 15_500, 3600, 500, 70, 20, 10]),
        "pages": {
            "num_pages": 512,
            "num_free": 64,
            "num_cached": 240,
            "num_used": 160,
            "num_shared": 48,
            "page_size": 16,
        },
        "prefix_queries": 120_000 + 900 * n,
        "prefix_hits": 66_000 + 500 * n,
        "num_preemptions": 3,
        "num_drafts": 5000,
        "num_draft_tokens": 20_000,
        "num_accepted_tokens": 12_800,
        "num_restarts": 1,
        "num_loads": 2,
        "num_evictions": 0,
        "load_seconds": 1.9,
        "last_used": NOW + second,
        "failure": None,
        "context_length": 8192,
    }
    return {**model, **changes}


def encoder(**changes: Any) -> dict[str, Any]:
    model = {
        "name": "all-minilm-l6-v2",
        "kind": "encoder",
        "state": "unloaded",
        "num_bytes": 0,
        "ttft": histogram(TTFT_BOUNDS, [0] * 10),
        "itl": histogram(ITL_BOUNDS, [0] * 9),
        "pages": None,
    }
    return {**model, **changes}


def overview(second: float = 0.0, models: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "object": "overview",
        "time": NOW + second,
        "started": NOW - 93_784,
        "version": "0.1.0",
        "budget_bytes": 4_000_000_000,
        "used_bytes": 412_000_000,
        "rss_bytes": 180_000_000,
        "cpu_seconds": 321.5 + 0.08 * second,
        "num_requests": 3,
        "models": [decoder(second), encoder()] if models is None else models,
    }


def request(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "id": f"req_{number:04d}",
        "model": "smollm2:135m",
        "endpoint": "/v1/chat/completions",
        "key": "alice",
        "client": "openai-python/3.54",
        "state": "generating",
        "started": NOW - 1.5 * number,
        "age_seconds": 1.5 * number,
        "prompt_tokens": 120 * number,
        "cached_tokens": 64,
        "completion_tokens": 17 * number,
        "num_choices": 1,
        "ttft_seconds": 0.21,
        "tokens_per_second": 24.5,
        "is_stream": True,
    }
    return {**row, **changes}


def requests() -> dict[str, Any]:
    waiting = {"ttft_seconds": None, "tokens_per_second": None, "completion_tokens": 0, "cached_tokens": None}
    rows = [
        request(1),
        request(2, key="bob", client="curl/8.5", is_stream=False),
        request(3, state="queued", key="", endpoint="/v1/responses", **waiting),
    ]
    return {"object": "list", "data": rows, "num_more": 0}


def detail(number: int) -> dict[str, Any]:
    sampling = {"temperature": 0.7, "top_p": 0.95, "seed": 1234, "max_tokens": 256}
    return {**request(number), "sampling": sampling, "grammar": False, "tools": ["search", "weather"]}


def page_map() -> dict[str, Any]:
    return {"model": "smollm2:135m", "time": NOW, "page_size": 16, "num_pages": len(PAGE_MAP), "map": PAGE_MAP}
