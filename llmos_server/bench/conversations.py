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
    for index in itertools.count():
        yield Conversation(
            opening,
            [
                " ".join(random_words(f"{options.seed}/{run}/{index}/{turn}", options.prompt_words))
                for turn in range(options.turns)
            ],
        )
