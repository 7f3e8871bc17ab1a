"""What a format of tool calls consists of."""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass

from llmos_server.chat.tools.sink import CallSink, Scanner

MAX_CALLS = 16
"""In one answer: a small model may find no end."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What a format makes its grammar's rules from. The rules `arguments_0` … are there, one a tool."""

    names: tuple[str, ...]
    max_calls: int
    spell: Callable[[str], str]
    """A marker, in Lark: its token, or its text, or either."""

    def more(self, rules: str) -> str:
        """As many further calls as there may be."""
        return f"({rules}){{0,{self.max_calls - 1}}}" if self.max_calls > 1 else ""

    def objects(self, key: str) -> str:
        """The rule `object`: {"name": …, KEY: {…}}, as Python writes JSON."""
        heads = [json.dumps({"name": name, key: ""})[:-3] for name in self.names]
        rules = [f'object_{i}: {json.dumps(head)} arguments_{i} "}}"' for i, head in enumerate(heads)]
        return "\n".join([f"object: {' | '.join(f'object_{i}' for i in range(len(heads)))}", *rules])


@dataclass(frozen=True, kw_only=True)
class ToolFormat:
    """One family's way to write calls."""

    name: str
    is_told_by: Callable[[str], bool]
    """Whether a chat template that reads `tools` is of this family, by its source."""
    begins: tuple[str, ...]
    """Markers, any of which ends the text and begins the calls."""
    others: tuple[str, ...] = ()
    """Further markers that may be tokens of their own."""
    rules: Callable[[Calls], str]
    """Lark: the rule `calls`, what follows a begin marker."""
    create_scanner: Callable[[CallSink, str], Scanner]
    """Of what follows a begin marker; the text is what is content if no call follows."""
    max_calls: int = MAX_CALLS
    is_bare: bool = False
    """A call may begin an answer without a marker; see bare."""
    has_short_ids: bool = False
    """Its templates take no ids but nine letters and digits."""

    def create_id(self) -> str:
        if self.has_short_ids:
            return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(9))
        return f"call_{secrets.token_hex(12)}"


_KEYS = ("name", "type")
BARE = r'\s*\{\s*"(?:name|type)"'
"""How an answer begins that is a call without a marker: for Python's and for llguidance's regular expressions."""
_PARTS = sorted({key[:length] for key in _KEYS for length in range(len(key) + 1)})
_BARE_BEGUN = re.compile(rf'\s*(?:\{{\s*(?:"(?:{"|".join(_PARTS)}))?)?')
_BARE = re.compile(BARE)


def bare(text: str) -> bool | None:
    """Whether an answer that begins so is a call; None while it may become one."""
    if _BARE.match(text):
        return True
    return None if _BARE_BEGUN.fullmatch(text) else False
