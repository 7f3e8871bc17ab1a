"""A chat's errors in the words of the request that it was made from: the client reads the names that it has sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from llmos_server.errors import InvalidRequest

_NAMES = [
    (re.compile(r"\bmax_completion_tokens\b"), "max_output_tokens"),
    (re.compile(r"\bresponse_format\.json_schema\.schema\b"), "text.format.schema"),
    (re.compile(r"\bresponse_format\.json_schema\b"), "text.format"),
    (re.compile(r"\bresponse_format\b"), "text.format"),
    (re.compile(r"\breasoning_effort\b"), "reasoning.effort"),
    (re.compile(r'"on_overflow": "drop_oldest"'), '"truncation": "auto"'),
]
_MESSAGE = re.compile(r"\bmessages\[(\d+)\]")
_TOOL = re.compile(r"\btools\[(\d+)\]")
_FUNCTION = re.compile(r"\btools\[(\d+)\](\.function)?")


def renamed(error: InvalidRequest, *, messages: Sequence[str], tools: Sequence[str]) -> InvalidRequest:
    """Of a response. messages, tools: where in its request each of the chat's comes from; further ones are the
    server's own."""

    def rename(text: str) -> str:
        text = _MESSAGE.sub(lambda found: _at(messages, found, "messages"), text)
        text = _FUNCTION.sub(lambda found: _at(tools, found, "tools"), text)
        for pattern, name in _NAMES:
            text = pattern.sub(name, text)
        return "input" if text == "messages" else text

    return _changed(error, rename)


def moved(error: InvalidRequest, *, tools: Sequence[str]) -> InvalidRequest:
    """Of a chat that named tools of the server's among its functions. tools: where each of these stood."""
    return _changed(error, lambda text: _TOOL.sub(lambda found: _at(tools, found, "tools"), text))


def _changed(error: InvalidRequest, rename: Callable[[str], str]) -> InvalidRequest:
    try:
        return type(error)(rename(str(error)), param=error.param and rename(error.param), code=error.code)
    except TypeError:  # One of more arguments, which never names these.
        return error


def _at(places: Sequence[str], found: re.Match[str], name: str) -> str:
    place = int(found[1])
    return places[place] if place < len(places) else name
