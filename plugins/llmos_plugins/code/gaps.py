"""Filling a gap: what the model wrote, made to fit where the marker stands."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from llmos_server import InputError


@dataclass(frozen=True, slots=True)
class Gap:
    before: str
    after: str

    def fit(self, written: str) -> str:
        """Models repeat what stands around the gap, and indent as they like."""
        text = textwrap.dedent(written).strip("\n")
        text = _without_head(text, self.before)
        text = _without_tail(text, self.after)
        text = textwrap.dedent(text).strip("\n")
        indent = self.before.rpartition("\n")[2]
        if indent.strip():  # The gap is within a line.
            return text
        first, _, rest = text.partition("\n")
        return first + ("\n" + textwrap.indent(rest, indent) if rest else "")

    def fill(self, text: str) -> str:
        return self.before + text + self.after


def find_gap(code: str, marker: str) -> Gap:
    """Raises InputError."""
    count = code.count(marker)
    if count != 1:
        raise InputError(f"it has to hold {marker!r} once, where the gap is, and holds it {count} times", field="code")
    before, _, after = code.partition(marker)
    return Gap(before, after)


def _without_head(text: str, before: str) -> str:
    head = textwrap.dedent(before).strip("\n").rstrip()
    return text[len(head) :] if head and text.startswith(head) else text


def _without_tail(text: str, after: str) -> str:
    tail = after.strip()
    bare = text.rstrip()
    return bare[: len(bare) - len(tail)].rstrip() if tail and bare.endswith(tail) and bare != tail else text
