"""What to measure."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from llmos_server.errors import InvalidRequest

REQUESTS_PER_CLIENT = 4
MIN_REQUESTS = 8


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """`model` None takes the server's first; `num_requests` None takes 4 a client, at least 8. Without a seed, every
    bench has words of its own, so that no earlier one has left them in a prefix cache."""

    url: str
    model: str | None = None
    concurrency: tuple[int, ...] = (1, 8, 32)
    num_requests: int | None = None
    system_words: int = 0
    """Of a system prompt that all conversations begin with."""
    prompt_words: int = 100
    """In every question, its own."""
    turns: int = 1
    """Questions in a conversation; each is sent with the answers to those before."""
    max_tokens: int = 64
    max_ttft_ms: float = 1000.0
    """Goodput counts the requests that begin to answer within this time."""
    seed: int = field(default_factory=lambda: secrets.randbelow(2**32))

    def __post_init__(self) -> None:
        counts = (self.prompt_words, self.turns, self.max_tokens, 1 if self.num_requests is None else self.num_requests)
        if min(counts) < 1:
            raise InvalidRequest("--requests, --prompt-words, --turns and --max-tokens have to be at least 1.")
        if self.system_words < 0:
            raise InvalidRequest("--system-words has to be at least 0.")
        if not self.max_ttft_ms > 0:
            raise InvalidRequest("--max-ttft-ms has to be above 0.")

    def conversations_for(self, concurrency: int) -> int:
        """How many there are in the run: enough for the requests that are wanted and for every client."""
        wanted = self.num_requests or max(REQUESTS_PER_CLIENT * concurrency, MIN_REQUESTS)
        return max(-(-wanted // self.turns), concurrency)


def parse_concurrency(text: str) -> tuple[int, ...]:
    """ "1,8,32" as numbers."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise InvalidRequest(f"--concurrency {text!r}: write numbers of at least 1 with commas, for example 1,8,32.")
    return numbers
