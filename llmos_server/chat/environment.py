"""The jinja environment that chat templates run in: what Transformers gives them, in a sandbox, with bounded work.

Templates come with a model's files, so they are not trusted: no attribute with an underscore, no change of the
messages, no endless range, no endless output.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.utils import Namespace

from llmos_server.chat.template_guards import CountingEnvironment
from llmos_server.chat.template_work import TemplateLimit, counting, current

MAX_RENDERED_CHARS = 64 * 2**20
"""Longest text that a template may write: several times the largest request body."""
MAX_RANGE_STEPS = 2_000_000
"""Numbers that all the ranges of one rendering may count together."""
MAX_TIME_FORMAT = 1000
"""Characters."""


class GenerationTag(Extension):
    """{% generation %} … {% endgeneration %} marks what the assistant wrote, for training; serving shows the body.

    The body is a call block, so that names set inside stay inside, as in Transformers.
    """

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_show"), [], [], body).set_lineno(line)

    def _show(self, caller: Callable[[], str]) -> str:
        return caller()


class GuardedNamespace(Namespace):
    """namespace() without names that could reach Python's internals. A template may store a name called `self`."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *rest = args
        for name in dict(*rest, **kwargs):
            _refuse_underscore(name)
        Namespace.__init__(self, *rest, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_underscore(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        """Without what is in it, which may be others, in which may be others."""
        return "<Namespace>"


def _refuse_underscore(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"namespace names can't begin with an underscore: {name!r}")


def create_environment(now: Callable[[], datetime] = datetime.now) -> jinja2.Environment:
    """now: what strftime_now reads; local time, as in Transformers."""
    environment = CountingEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda format: now().strftime(_bounded_format(format))
    environment.globals["namespace"] = GuardedNamespace
    del environment.globals["lipsum"]  # Filler text of any length, which no chat needs.
    environment.count_everything()
    return environment


def render_bounded(template: jinja2.Template, context: Mapping[str, Any], num_chars: int) -> str:
    """num_chars: of all that the request gives the template. Raises TemplateLimit, and whatever the template raises."""
    pieces: list[str] = []
    room = MAX_RENDERED_CHARS
    with counting(num_chars):
        for piece in template.generate({"range": _create_range(), **context}):
            room -= len(piece)
            if room < 0:
                raise TemplateLimit(f"it wrote more than {MAX_RENDERED_CHARS} characters")
            pieces.append(piece)
    return "".join(pieces)


def _create_range() -> Callable[..., range]:
    """A range of its own for each rendering: nested loops share one allowance."""
    left = MAX_RANGE_STEPS

    def bounded_range(*args: int) -> range:
        nonlocal left
        numbers = range(*args)
        left -= len(numbers)
        if left < 0:
            raise TemplateLimit(f"it counted over more than {MAX_RANGE_STEPS} numbers")
        return numbers

    return bounded_range


def _bounded_format(format: str) -> str:
    if len(format) > MAX_TIME_FORMAT:
        raise TemplateLimit(f"it formats a time with more than {MAX_TIME_FORMAT} characters")
    return format


def _raise_exception(message: str) -> NoReturn:
    current().walk(message)
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """jinja2's own filter writes < > & ' as escapes for HTML; models were trained on plain JSON."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
