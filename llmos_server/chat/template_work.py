"""How much work one rendering of a chat template has done, and how much it may do.

A template comes with a model's files and runs in a thread that can't be killed, so it is made to count: a unit is what
the machine does in some nanoseconds, such as to copy a character. Whatever a template builds is walked and counted when
it is built, so that nothing is larger than what was allowed, also unfolded: [a, a] of [a, a] ... has 2**depth values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from typing import Any

import jinja2
from jinja2 import nodes

BASE_WORK = 20_000_000
"""For the shortest chat: a tenth of a second or two, because it is rendered on the event loop."""
WORK_PER_CHAR = 1000
"""More for a longer chat. Templates of real models take a hundredth to a tenth of what they may."""
MAX_WORK = 500_000_000
"""For the longest: some ten seconds at worst."""
STEP = 200
"""One pass through a loop's body, one call."""
VALUE = 250
"""One value in a list that is walked."""


class TemplateLimit(jinja2.TemplateError):
    """The template asked for more work than a chat needs."""


class Work:
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = limit

    def spend(self, units: int) -> None:
        """Before the work is done, where it can be foreseen. Raises TemplateLimit."""
        self.left -= units
        if self.left < 0:
            raise TemplateLimit(
                f"it takes more than the {self.limit} units of work that a chat of this length may take"
            )

    def walk(self, value: Any) -> tuple[int, int]:
        """Spends, and returns, the size of a value with all that is in it; and its depth."""
        if isinstance(value, str | bytes):
            self.spend(len(value))
            return len(value), 0
        before, depth = self.left, 0
        levels: list[Iterator[Any]] = [_children(value)]
        while levels:
            for item in levels[-1]:
                self.spend(VALUE)
                if isinstance(item, str | bytes):
                    self.spend(len(item))
                elif isinstance(item, Mapping | list | tuple | set | range):
                    levels.append(_children(item))
                    depth = max(depth, len(levels))
                    break
            else:
                levels.pop()
        return before - self.left, depth


def _children(value: Any) -> Iterator[Any]:
    """None of an iterator: to walk it would use it up, and what feeds it was counted."""
    if isinstance(value, Mapping):
        return chain.from_iterable(value.items())
    walked: Iterable[Any] = value if isinstance(value, list | tuple | set | range) else ()
    return iter(walked)


_current: ContextVar[Work] = ContextVar("llmos_template_work")


def current() -> Work:
    """Of the rendering that runs. At compile time there is none, and then a constant is not worked out."""
    work = _current.get(None)
    if work is None:
        raise nodes.Impossible
    return work


@contextmanager
def counting(num_chars: int) -> Iterator[Work]:
    """num_chars: of what the template is given."""
    work = Work(min(MAX_WORK, BASE_WORK + WORK_PER_CHAR * num_chars))
    token = _current.set(work)
    try:
        yield work
    finally:
        _current.reset(token)
