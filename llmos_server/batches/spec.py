"""What a batch is to do, and what has come of it so far: the payload and the result of its job."""

from __future__ import annotations

import msgspec

ENDPOINTS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/rerank",
    "/v1/score",
    "/v1/classify",
    "/v1/systemone",
)
WINDOW, WINDOW_SECONDS = "24h", 86_400
INPUT = "input.jsonl"
"""In the job's folder: the file that was uploaded, which may be deleted meanwhile."""
MAX_REQUESTS = 50_000
MAX_ERRORS = 1_000
"""Of a file that can't be run."""


class BatchSpec(msgspec.Struct, frozen=True, kw_only=True):
    endpoint: str
    input_file_id: str
    expires: int
    """Unix milliseconds: what hasn't been answered then won't be."""
    output_seconds: int | None = None
    """How long its files live; None: until they are deleted."""
    metadata: dict[str, str] | None = None


class LineError(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    message: str
    param: str | None = None
    line: int | None = None
    """From 1 on."""


class Tokens(msgspec.Struct, frozen=True):
    """Of all answers."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
            self.reasoning + other.reasoning,
        )


class BatchState(msgspec.Struct, frozen=True, kw_only=True):
    """Times are Unix milliseconds."""

    total: int = 0
    completed: int = 0
    failed: int = 0
    tokens: Tokens = Tokens()
    model: str | None = None
    """What all requests name; None where they differ, or name none."""
    in_progress: int | None = None
    finalizing: int | None = None
    cancelling: int | None = None
    has_expired: bool = False
    errors: list[LineError] = []
    output_file_id: str | None = None
    error_file_id: str | None = None
