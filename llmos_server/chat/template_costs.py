"""What operations on texts and lists cost, by name: filters of templates and methods of values. Checked before they
run, since each is one piece of C code that nothing interrupts."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmos_server.chat.template_work import TemplateLimit, current

MAX_NUMBER = 10_000
"""Largest width, indent or count that an operation may be told."""
MAX_INTEGER_BITS = 4096

_PERCENT = re.compile(r"%(?:\([^)]*\))?[#0\- +]*(\*|\d+)?(?:\.(\*|\d+))?[a-zA-Z%]")
_ENCODINGS = ("utf8", "ascii", "latin1")

_FAST = re.compile(
    "d|default|length|count|string|trim|upper|lower|first|last|list|join|replace|safe|int|float|abs|items|attr|map|select"
    "|reject|selectattr|rejectattr|[lr]?strip|startswith|endswith|remove(pre|suf)fix|r?split|splitlines|r?find|r?index"
    "|r?partition|defined|undefined|none|mapping|iterable|sequence|number|boolean|true|false|callable|sameas|(en|de)code"
).fullmatch
_SLOW = 10
"""Of other operations, such as sort, tojson and title: so many units a character."""
_CONSTANT = re.compile(
    "d|default|length|count|first|last|safe|attr|get|items|keys|values|map|select|reject|selectattr|rejectattr|defined"
    "|undefined|none|string|mapping|iterable|sequence|number|boolean|true|false|integer|float|callable|sameas"
).fullmatch
"""These read no more of a dictionary or list than they are asked for, or what they hand out is counted later."""


def charge(name: str, value: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """For an operation on `value`, the name being a filter's or a method's. Raises TemplateLimit."""
    work = current()
    others = [*args, *kwargs.values()]
    check_numbers(others)
    if _CONSTANT(name) and not isinstance(value, str | bytes | range):
        size, depth = 1, 0
    else:
        size, depth = work.walk(value)
        if not _FAST(name):
            work.spend(size * (_SLOW - 1))
    arguments = sum(work.walk(other)[0] + (abs(other) if isinstance(other, int) else 0) for other in others)
    if name in _PRODUCTS:
        work.spend(_PRODUCTS[name](value, others, size * max(depth, 1), arguments))


def check_numbers(values: Sequence[Any]) -> None:
    for number in values:
        if isinstance(number, int) and abs(number) > MAX_NUMBER:
            raise TemplateLimit(f"it hands a number above {MAX_NUMBER} to an operation")


def _replace(value: Any, others: list[Any], size: int, arguments: int) -> int:
    if len(others) >= 2 and isinstance(value, str) and isinstance(others[0], str) and isinstance(others[1], str):
        return search(value, others[0]) + value.count(others[0]) * len(others[1])
    return size * arguments


def _join(value: Any, others: list[Any], size: int, arguments: int) -> int:
    """A method's value is the separator, a filter's the list."""
    if isinstance(value, str | bytes) and others:
        value, others = others[0], [value]
    count = len(value) if hasattr(value, "__len__") else current().limit
    return count * max((len(other) for other in others if isinstance(other, str | bytes)), default=0)


def _lines(value: Any, others: list[Any], size: int, arguments: int) -> int:
    return (value.count("\n") + 1 if isinstance(value, str) else size) * arguments


def _sum(value: Any, others: list[Any], size: int, arguments: int) -> int:
    """Lists that are summed are copied for every one of them."""
    return size * len(value) if hasattr(value, "__len__") and any(isinstance(o, list | tuple) for o in others) else 0


def _search(value: Any, others: list[Any], size: int, arguments: int) -> int:
    return sum(search(value, other) for other in others if isinstance(value, str) and isinstance(other, str))


def search(text: str, part: str) -> int:
    """The worst case of looking for a part: it almost stands everywhere."""
    return len(text) * min(len(part), 100) // 4


def _search_backwards(value: Any, others: list[Any], size: int, arguments: int) -> int:
    return sum(len(value) * len(o) // 8 for o in others if isinstance(value, str) and isinstance(o, str))


def _encode(value: Any, others: list[Any], size: int, arguments: int) -> int:
    """Some of Python's encodings take the square of a text's length."""
    if others and str(others[0]).lower().replace("-", "").replace("_", "") not in _ENCODINGS:
        raise TemplateLimit(f"it may encode as UTF-8, ASCII and Latin-1 only, not as {str(others[0])[:40]!r}")
    return 0


def _product(value: Any, others: list[Any], size: int, arguments: int) -> int:
    return size * arguments


def _percent(value: Any, others: list[Any], size: int, arguments: int) -> int:
    return percent_cost(value, arguments)


_PRODUCTS: dict[str, Callable[[Any, list[Any], int, int], int]] = {
    **dict.fromkeys(("replace",), _replace),
    **dict.fromkeys(("join",), _join),
    **dict.fromkeys(("indent", "wordwrap"), _lines),
    **dict.fromkeys(("expandtabs", "translate", "tojson", "pprint", "urlize", "xmlattr"), _product),
    **dict.fromkeys(("find", "index", "count", "split", "partition"), _search),
    **dict.fromkeys(("rfind", "rindex", "rsplit", "rpartition"), _search_backwards),
    **dict.fromkeys(("encode", "decode"), _encode),
    "sum": _sum,
    "format": _percent,
}


def percent_cost(text: Any, arguments: int) -> int:
    """Of text % values. arguments: their size."""
    if not isinstance(text, str | bytes):
        return 0
    fields = _PERCENT.findall(text if isinstance(text, str) else text.decode("latin-1"))
    widths = [width for field in fields for width in field if width]
    if "*" in widths or any(len(width) > 4 for width in widths):
        raise TemplateLimit(f"it formats with a width above {MAX_NUMBER}, or one from outside of the format")
    return len(text) + len(fields) * arguments + sum(map(int, widths))


def charge_format(text: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Of text.format(...). Raises TemplateLimit, and ValueError for a malformed text."""
    work = current()
    values = [*args, *kwargs.values()]
    arguments = sum(work.walk(value)[0] for value in values)
    for literal, field, spec, _ in string.Formatter().parse(text):
        work.spend(len(literal) + (0 if field is None else arguments + 100))
        if "{" in (spec or "") or any(len(digits) > 4 for digits in re.findall(r"\d+", spec or "")):
            raise TemplateLimit(f"it formats with a width above {MAX_NUMBER}, or one from outside of the format")
        work.spend(sum(map(int, re.findall(r"\d+", spec or ""))))


def charge_binary(operator: str, left: Any, right: Any) -> None:
    """Of + - * / // % ** before they are computed. Raises TemplateLimit."""
    work = current()
    if isinstance(left, int) and isinstance(right, int):
        bits = max(left.bit_length(), 1) * abs(right) if operator == "**" else left.bit_length() + right.bit_length()
        if bits > MAX_INTEGER_BITS:
            raise TemplateLimit(f"it computes with integers of more than {MAX_INTEGER_BITS} bits")
        return
    if operator == "%" and isinstance(left, str | bytes):
        work.spend(percent_cost(left, work.walk(right)[0]))
    elif operator in "+*":
        size = sum(work.walk(side)[0] for side in (left, right) if not isinstance(side, int | float))
        times = next((side for side in (left, right) if isinstance(side, int)), 1)
        work.spend(size * max(times - 1, 0))
