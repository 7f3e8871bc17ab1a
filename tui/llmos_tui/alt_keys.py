"""Alt with another key, as most terminals send it: escape, then the key.

Textual tells it with the key's character, which every field would then write; and alt with a digit it takes for what
one terminal on macOS means by that ("¡" for alt+1), so that it could be bound to nothing.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, cast

from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.events import Event


def let_alt_digits_be() -> None:
    """For this process; what no table knows is told as "alt+1" and so on."""
    sequences = cast("MutableMapping[str, Any]", ANSI_SEQUENCES_KEYS)
    for digit in "0123456789":
        sequences.pop(f"\x1b{digit}", None)


def without_character(event: Event) -> Event:
    """Keys with alt write nothing: they are the program's."""
    if isinstance(event, events.Key) and event.key.startswith("alt+"):
        event.character = None
    return event
