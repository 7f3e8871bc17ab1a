"""Where a JSON value ends in a text that comes in pieces."""

from __future__ import annotations


class JsonExtent:
    """Feed it a value's characters. It finds where objects, arrays and strings end, and judges nothing inside."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._is_escaped = False
        self._is_scalar = False

    def ends_before(self, character: str) -> bool:
        """Of numbers and words, whose end is known by what follows."""
        return self._is_scalar and (character in ",}]" or character.isspace())

    def feed(self, character: str) -> bool:
        """Whether the value is complete with it."""
        if self._in_string:
            if self._is_escaped:
                self._is_escaped = False
            elif character == "\\":
                self._is_escaped = True
            elif character == '"':
                self._in_string = False
            return not self._in_string and self._depth == 0
        if character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
            return self._depth <= 0
        elif self._depth == 0:
            self._is_scalar = True
        return False
