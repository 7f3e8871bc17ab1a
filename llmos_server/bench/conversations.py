"""What the clients say: random words, other ones in every question."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from llmos_server.bench.options import BenchOptions
from llmos_server.bench.words import random_words

Message = dict[str, str]


class Conversation(NamedTuple):
    opening: list[Message]
    """The system prompt, or nothing."""
    questions: list[str]


def conversations(options: BenchOptions, run: str) -> Iterator[Conversation]:
    """Endless. Equal options and run give equal ones; any two share the system prompt and no question."""
    system = " ".join(random_words(f"{options.seed}/system", options.system_words))
    opening = [{"role": "system", "content": system}] if system else []
    num_words = options.prompt_words  # Part of the seed, else a long question would begin with a short one.
    for index in itertools.count():
        seeds = [f"{options.seed}/{run}/{num_words}/{index}/{turn}" for turn in range(options.turns)]
        yield Conversation(opening, [" ".join(random_words(seed, num_words)) for seed in seeds])
