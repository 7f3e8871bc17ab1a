"""One line to one JSON object, and what is wrong with a line that is none."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from llmos_server.data.encodings import explain_bytes, explain_wide
from llmos_server.data.findings import Finder, kind_of

SECOND_LOOK_BYTES = 2**20
"""Of longer lines the decoder's own words are told: the second look is slow."""


def read_text(data: bytes, finder: Finder) -> str | None:
    """None: it is no UTF-8, and finder knows."""
    if told := explain_wide(data):
        finder.refuse("", "not_utf8", told)
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        finder.refuse("", "not_utf8", explain_bytes(data, error))
        return None


def read_object(text: str, finder: Finder) -> dict[str, Any] | None:
    """None: it is no JSON object, and finder knows."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        finder.refuse("", "not_json", _explain(text, error))
        return None
    if isinstance(value, dict):
        return value
    remedy = "The file is one list; write each of its objects on a line of its own" if isinstance(value, list) else ""
    finder.refuse("", "not_an_object", f"The line is {kind_of(value)}, not an object. {remedy or 'Write one a line'}.")
    return None


def _explain(text: str, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "The JSON is nested too deeply."
    begin = text.lstrip()
    if begin.rstrip() in ("{", "[", "[{"):
        return "One object has to stand on one line, and here it is spread over several; with jq: jq -c . FILE > NEW."
    if begin.startswith(("{'", "[{'")):
        return "Names and texts stand in double quotes in JSON; write the line with json.dumps, not with str."
    if not begin.startswith(("{", "[")):
        return "The line is no JSON. A file of examples has one JSON object a line, as {...}."
    if len(text) > SECOND_LOOK_BYTES:
        return f"The JSON can't be read: {error}."
    try:
        json.loads(text)
    except json.JSONDecodeError as broken:
        return f"The JSON can't be read: {broken.msg} at character {broken.pos + 1}."
    except (RecursionError, ValueError):
        pass
    return f"The JSON can't be read: {error}."
