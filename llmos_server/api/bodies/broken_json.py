"""What is wrong with a body that the JSON decoder refused, told so that a person can find it."""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Iterator
from typing import Any

MAX_BYTES = 2**20
"""Of longer bodies only the decoder's own words are told: the second look is slow."""
MAX_PATH_LENGTH = 200

_MARKS = {codecs.BOM_UTF8: "UTF-8", codecs.BOM_UTF16_LE: "UTF-16 or UTF-32", codecs.BOM_UTF16_BE: "UTF-16"}

_UNPAIRED = "holds an unpaired surrogate (half of a character above U+FFFF, perhaps of a text that was cut inside it)"
_OUT_OF_RANGE = "is a number that is out of range"
_NO_NUMBER = "is NaN or Infinity, which JSON doesn't have"


def explain(raw: bytes, error: Exception) -> tuple[str | None, str]:
    """The path of the value at fault, None when the text as a whole is broken; and the message.

    error: the decoder's, told where nothing better is found.
    """
    if mark := next((name for start, name in _MARKS.items() if raw.startswith(start)), None):
        return None, f"The body begins with a byte order mark ({mark}); send plain UTF-8."
    if len(raw) > MAX_BYTES:
        return None, f"The body is not valid JSON: {error}."
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_Constant)
    except UnicodeDecodeError as broken:
        byte = raw[broken.start]
        return None, f"The body is not valid UTF-8: the byte {byte:#04x} at {broken.start} can't stand there."
    except RecursionError:
        return None, "The body is nested too deeply."
    except ValueError as broken:
        found = broken if isinstance(broken, json.JSONDecodeError) else error  # The other: an integer's digits.
        return None, f"The body is not valid JSON: {found}."
    fault = _find(body)
    if fault is None:
        return None, f"The body is not valid JSON: {error}."
    path, what = fault
    return path or None, f"{path or 'The body'} {what}."


class _Constant(str):
    """NaN, Infinity or -Infinity, as it was written."""


def _find(body: Any) -> tuple[str, str] | None:
    """Path and fault of the first value that can't be taken. A loop, so that no depth is too much."""
    names: list[str] = [""]
    levels: list[Iterator[tuple[str, Any]]] = [iter([("", body)])]
    while levels:
        item = next(levels[-1], None)
        if item is None:
            levels.pop()
            names.pop()
            continue
        names[-1], value = item
        if what := _fault_of(value):
            return _shown("".join(names)), what
        if isinstance(value, dict | list):
            names.append("")
            levels.append(_children(value))
    return None


def _children(value: dict[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        return ((f".{name}", item) for name, item in value.items())
    return ((f"[{place}]", item) for place, item in enumerate(value))


def _fault_of(value: Any) -> str:
    if isinstance(value, _Constant):
        return _NO_NUMBER
    if isinstance(value, float) and math.isinf(value):
        return _OUT_OF_RANGE
    if isinstance(value, str) and _is_torn(value):
        return _UNPAIRED
    if isinstance(value, dict) and any(map(_is_torn, value)):
        return "has a field whose name " + _UNPAIRED
    return ""


def _is_torn(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _shown(path: str) -> str:
    return path.removeprefix(".")[:MAX_PATH_LENGTH]
