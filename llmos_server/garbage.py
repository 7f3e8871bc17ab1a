"""The garbage collector of a process that has loaded what it serves with."""

from __future__ import annotations

import gc


def exempt_loaded() -> None:
    """Call once, when all is loaded. A full collection would look at every object of every module: a tenth or two of a
    second in which no stream gets on. What is here by now stays anyway."""
    gc.collect()
    gc.freeze()
