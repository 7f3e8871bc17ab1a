"""Calls that are a name, a marker and the arguments: [TOOL_CALLS]name[ARGS]{…}."""

from __future__ import annotations

import re

from llmos_server.chat.tools.json_extent import JsonExtent
from llmos_server.chat.tools.sink import CallSink

_NAME = re.compile(r"\s*([\w.:/-]+)\s*")


class NamedCalls:
    """Implements Scanner. begin: before each call; id: between its name and an id of the model's own, which isn't used;
    arguments: before its arguments. before: as JsonCalls has it; it ends with `begin`."""

    def __init__(self, sink: CallSink, *, begin: str, id: str, arguments: str, before: str) -> None:
        self._sink = sink
        self._begin, self._id, self._arguments = begin, id, arguments
        self._raw = before
        self._head: int | None = len(before)
        """Where in _raw a call's name begins, if one does."""
        self._extent: JsonExtent | None = None
        self._has_value = False

    def feed(self, text: str) -> None:
        for character in text:
            if self._extent is not None:
                self._in_arguments(self._extent, character)
            else:
                self._in_head(character)

    def finish(self) -> None:
        """What a cut has left of a further call, or of a marker, isn't text."""
        is_cut = self._head is not None or self._begin.startswith(self._raw.strip())
        if self._extent is None and not (self._sink.num_calls and is_cut):
            self._sink.text(self._raw)

    def _in_head(self, character: str) -> None:
        self._raw += character
        if self._raw.endswith(self._begin):
            self._release(len(self._raw) - len(self._begin))
            self._head = len(self._raw)
        elif self._head is not None and self._raw.endswith(self._arguments):
            head = self._raw[self._head : -len(self._arguments)].partition(self._id)[0]
            name = _NAME.fullmatch(head)
            if name:
                self._sink.begin(name[1])
                self._extent, self._has_value, self._raw = JsonExtent(), False, ""

    def _release(self, length: int) -> None:
        """What stands before a begin marker is text, unless it is nothing but space."""
        if self._raw[:length].strip():
            self._sink.text(self._raw[:length])
            self._raw = self._raw[length:]

    def _in_arguments(self, extent: JsonExtent, character: str) -> None:
        if not self._has_value and character.isspace():
            return
        self._has_value = True
        if extent.ends_before(character):
            self._end()
            self._in_head(character)
            return
        self._sink.arguments(character)
        if extent.feed(character):
            self._end()

    def _end(self) -> None:
        self._extent, self._head = None, None
        self._sink.end()
