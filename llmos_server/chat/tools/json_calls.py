"""Calls that are JSON objects: {"name": …, "arguments": {…}}, one after the other, with separators between them."""

from __future__ import annotations

import json
import re
from typing import Literal

from llmos_server.chat.tools.json_extent import JsonExtent
from llmos_server.chat.tools.sink import CallSink

ARGUMENTS = ("arguments", "parameters")


class JsonCalls:
    """Implements Scanner. markers: what may stand between the objects besides white space, brackets, commas and
    semicolons. before: the text up to here that is content if no call follows."""

    def __init__(self, sink: CallSink, markers: tuple[str, ...], before: str) -> None:
        self._sink = sink
        self._separators = re.compile(rf"(?:[\s\[\],;]|{'|'.join(map(re.escape, markers))})*")
        begun = "|".join(re.escape(marker[:length]) for marker in markers for length in range(1, len(marker)))
        self._unfinished = re.compile(rf"{self._separators.pattern}(?:{begun})?")
        self._raw = before
        self._call: _Call | None = None

    def feed(self, text: str) -> None:
        for character in text:
            if self._call is not None:
                self._step(self._call, character)
            elif character == "{":
                self._open()
            else:
                self._raw += character

    def finish(self) -> None:
        """What a cut has left of a further call, or of a marker, isn't text."""
        if self._call is not None:
            rest, is_cut = self._call.unclaimed, True
        else:
            rest, is_cut = self._raw, self._unfinished.fullmatch(self._raw) is not None
        if not self._sink.num_calls or not is_cut:
            self._sink.text(rest)

    @property
    def _is_between(self) -> bool:
        return self._separators.fullmatch(self._raw) is not None

    def _open(self) -> None:
        if not self._is_between:
            self._sink.text(self._raw)
            self._raw = ""
        self._call = _Call(self._sink, self._raw + "{")
        self._raw = ""

    def _step(self, call: _Call, character: str) -> None:
        call.feed(character)
        if call.state in ("done", "broken"):
            self._call = None
            self._sink.text(call.unclaimed)


class _Call:
    """One object, after its brace. unclaimed: its text, as long as it has no name."""

    def __init__(self, sink: CallSink, before: str) -> None:
        self._sink = sink
        self.unclaimed = before
        self.state: Literal["key", "in_key", "colon", "value", "done", "broken"] = "key"
        self._key = ""
        self._text = ""
        self._extent: JsonExtent | None = None
        self._has_name = False
        self._has_arguments = False
        self._early = ""
        """Arguments that came before the name."""

    def feed(self, character: str) -> None:
        if not self._has_name:
            self.unclaimed += character
        match self.state:
            case "value":
                self._in_value(character)
            case "in_key":
                self._in_key(character)
            case "colon" if character == ":":
                self.state = "value"
            case "colon" if not character.isspace():
                self._break(character)
            case "key":
                self._before_key(character)

    def _before_key(self, character: str) -> None:
        if character == '"':
            self.state, self._text, self._extent = "in_key", "", JsonExtent()
            self._in_key(character)
        elif character == "}":
            self._close()
        elif character != "," and not character.isspace():
            self._break(character)

    def _in_key(self, character: str) -> None:
        assert self._extent is not None
        self._text += character
        if self._extent.feed(character):
            self._key, self._extent, self.state = str(_decode(self._text)), None, "colon"

    def _in_value(self, character: str) -> None:
        if self._extent is None:
            if character.isspace():
                return
            self._extent, self._text = JsonExtent(), ""
        if self._extent.ends_before(character):
            self._end_value()
            self._before_key(character)
            return
        if self._key in ARGUMENTS:
            self._add_arguments(character)
        elif self._key == "name":
            self._text += character
        if self._extent.feed(character):
            self._end_value()

    def _add_arguments(self, character: str) -> None:
        self._has_arguments = True
        if self._has_name:
            self._sink.arguments(character)
        else:
            self._early += character

    def _end_value(self) -> None:
        self._extent, self.state = None, "key"
        if self._key != "name" or self._has_name:
            return
        name = _decode(self._text)
        if isinstance(name, str) and name:
            self._has_name, self.unclaimed = True, ""
            self._sink.begin(name)
            if self._early:
                self._sink.arguments(self._early)

    def _close(self) -> None:
        self.state = "done"
        if self._has_name:
            if not self._has_arguments:
                self._sink.arguments("{}")
            self._sink.end()

    def _break(self, character: str) -> None:
        self.state = "broken"
        if self._has_name:
            self.unclaimed = character


def _decode(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
