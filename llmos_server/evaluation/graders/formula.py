"""Formulas of multi graders: numbers, names, + - * / ^, a few functions. Parsed and computed here: no code is run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from llmos_server.errors import InvalidRequest

FUNCTIONS: dict[str, tuple[Callable[..., float], int]] = {
    "min": (min, 0),
    "max": (max, 0),
    "abs": (abs, 1),
    "floor": (math.floor, 1),
    "ceil": (math.ceil, 1),
    "exp": (math.exp, 1),
    "sqrt": (math.sqrt, 1),
    "log": (math.log, 1),
}
"""Name -> function, and how many arguments it takes; 0 is two or more."""
MAX_DEPTH = 50
_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|([^\W\d]\w*)|(\*\*|[-+*/^(),]))")
_SIGNS: dict[str, tuple[int, Callable[[float, float], float]]] = {
    "+": (1, lambda a, b: a + b),
    "-": (1, lambda a, b: a - b),
    "*": (2, lambda a, b: a * b),
    "/": (2, lambda a, b: a / b),
}

Node = Callable[[Mapping[str, float]], float]


class Formula:
    def __init__(self, text: str, where: str = "") -> None:
        """where: the field that holds it, for messages. Raises InvalidRequest."""
        self.text = text
        self.names: set[str] = set()
        self._where = where
        self._tokens = self._split()
        self._place = 0
        self._node = self._sum(0, 0)
        if self._place < len(self._tokens):
            raise self._error(f"{self._tokens[self._place]!r} is too much")

    def compute(self, values: Mapping[str, float]) -> float:
        """Raises ArithmeticError or ValueError, as for a division by zero."""
        found = self._node(values)
        if isinstance(found, complex) or not math.isfinite(found):
            raise ValueError("the result is no finite number")
        return float(found)

    def _split(self) -> list[str]:
        tokens, place, text = [], 0, self.text.rstrip()
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None:
                raise self._error(f"{text[place:].strip()[:20]!r} can't be read")
            tokens.append(found[0].strip())
            place = found.end()
        return tokens

    def _sum(self, least: int, depth: int) -> Node:
        """Terms joined by signs that bind at least so tightly, left to right."""
        left = self._term(depth)
        while (sign := self._peek()) in _SIGNS and _SIGNS[sign][0] > least:
            self._place += 1
            left = _join(_SIGNS[sign][1], left, self._sum(_SIGNS[sign][0], depth + 1))
        return left

    def _term(self, depth: int) -> Node:
        """A power: it binds tighter than a sign before it, and to the right."""
        if depth > MAX_DEPTH:
            raise self._error("it is nested too deeply")
        if self._peek() in ("-", "+"):
            sign = self._take()
            inner = self._term(depth + 1)
            return (lambda values: -inner(values)) if sign == "-" else inner
        base = self._atom(depth)
        if self._peek() not in ("^", "**"):
            return base
        self._place += 1
        return _join(lambda a, b: a**b, base, self._term(depth + 1))

    def _atom(self, depth: int) -> Node:
        token = self._take()
        if token == "(":
            inner = self._sum(0, depth + 1)
            self._expect(")")
            return inner
        if token[:1].isdigit() or token[:1] == ".":
            number = float(token)
            return lambda values: number
        if token in FUNCTIONS and self._peek() == "(":
            return self._call(token, depth)
        if token.isidentifier():
            self.names.add(token)
            return lambda values: values[token]
        raise self._error(f"{token!r} isn't expected" if token else "it breaks off")

    def _call(self, name: str, depth: int) -> Node:
        self._expect("(")
        arguments = [self._sum(0, depth + 1)]
        while self._peek() == ",":
            self._place += 1
            arguments.append(self._sum(0, depth + 1))
        self._expect(")")
        function, number = FUNCTIONS[name]
        if len(arguments) != number if number else len(arguments) < 2:
            raise self._error(f"{name} takes {number or 'two or more'} arguments, not {len(arguments)}")
        return lambda values: function(*(argument(values) for argument in arguments))

    def _peek(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self._place += 1
        return token

    def _expect(self, token: str) -> None:
        if self._take() != token:
            raise self._error(f"{token!r} is missing")

    def _error(self, what: str) -> InvalidRequest:
        return InvalidRequest(
            f"{self._where or 'formula'}: {what} in {self.text[:80]!r}. It has numbers, the graders' names, + - * / ^, "
            f"parentheses, and {', '.join(FUNCTIONS)}.",
            param=self._where or None,
            code="formula_parse_error",
        )


def _join(sign: Callable[[float, float], float], left: Node, right: Node) -> Node:
    return lambda values: sign(left(values), right(values))
