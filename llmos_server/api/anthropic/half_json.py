"""Arguments that a limit has cut: the part of them that is whole, as clients' own readers of half JSON take it."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+)', re.DOTALL)
_CLOSERS = {"{": "}", "[": "]"}


def read_object(text: str) -> dict[str, Any]:
    """The object that text is, or what of it can be closed; an empty one where that is none."""
    for whole in (text, _close(text)):
        with suppress(ValueError, RecursionError):
            value = json.loads(whole)
            if isinstance(value, dict):
                return value
    return {}


def _close(text: str) -> str:
    """Everything up to the last value that has ended, with the brackets that are open there closed."""
    closers: list[str] = []
    good, open_there = "", ""
    place, is_key = 0, False
    while found := _TOKEN.match(text, place):
        token, place = found[1], found.end()
        if token == ":":
            is_key = False
            continue
        if token == ",":
            is_key = closers[-1:] == ["}"]
            continue
        if token in _CLOSERS:
            closers.append(_CLOSERS[token])
            is_key = token == "{"
        elif token in _CLOSERS.values():
            if closers[-1:] != [token]:
                break
            closers.pop()
        elif is_key or not _is_value(token):
            continue
        good, open_there = text[:place], "".join(reversed(closers))
    return good + open_there


def _is_value(token: str) -> bool:
    try:
        json.loads(token)
    except ValueError:
        return False
    return True
