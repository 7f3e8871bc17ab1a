"""The one rule for request fields, as a mechanism; the tables are in fields.py.

null equals absent. A field is honoured, or honoured for some values only, or refused with a reason, or a hint that
changes no answer. Anything else is unknown: ignored and told, or refused when the client or a setting asks for that.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmos_server.errors import InvalidRequest


class Status(enum.Enum):
    HONOURED = "honoured"
    VALUES = "some values"
    """Values that ask for what happens anyway are accepted, all others refused."""
    REFUSED = "refused"
    HINT = "accepted hint"
    """Changes no answer; accepted without effect."""


@dataclass(frozen=True, slots=True)
class Rule:
    status: Status
    note: str
    """For the documentation; of a refused field or value also the reason that the client reads."""
    accepts: Callable[[Any], bool] | None = None
    nested: Mapping[str, Rule] | None = None
    """Rules of the object, or of each object of the list, that the field holds."""
    each: Mapping[str, Rule] | None = None
    """Rules of each object in the object that the field holds, whose names are the client's own."""
    by_type: Mapping[str, Mapping[str, Rule]] | None = None
    """Rules of the object, of each object of the list, or of each in an object of named ones, that the field holds, by
    its `type`; "" is of those without one. Objects of other types pass whole: whoever reads them refuses them by
    name."""
    code: str = "unsupported_parameter"


Table = Mapping[str, Rule]


@dataclass(slots=True)
class Checked:
    """What is left of a request body: honoured fields without nulls, and the paths of the unknown ones."""

    fields: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def honoured(
    note: str = "",
    nested: Table | None = None,
    each: Table | None = None,
    by_type: Mapping[str, Table] | None = None,
) -> Rule:
    return Rule(Status.HONOURED, note, nested=nested, each=each, by_type=by_type)


def values(accepts: Callable[[Any], bool], note: str, code: str = "unsupported_value") -> Rule:
    return Rule(Status.VALUES, note, accepts=accepts, code=code)


def refused(note: str, code: str = "unsupported_parameter") -> Rule:
    return Rule(Status.REFUSED, note, code=code)


def hint(note: str) -> Rule:
    return Rule(Status.HINT, note)


def check_fields(body: Mapping[str, Any], table: Table) -> Checked:
    """Apply `table` to a decoded JSON object. Raises InvalidRequest for what is known and can't be honoured."""
    checked = Checked()
    checked.fields = _check_object(body, table, "", checked.unknown)
    return checked


def check_typed(item: dict[str, Any], tables: Mapping[str, Table]) -> dict[str, Any]:
    """An object that was checked before, without what isn't honoured: one that the server has stored."""
    kept: dict[str, Any] = _check_typed(item, tables, "", [])
    return kept


def _check_object(body: Mapping[str, Any], table: Table, prefix: str, unknown: list[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in body.items():
        if value is None:
            continue
        path = prefix + name
        rule = table.get(name)
        if rule is None:
            unknown.append(path)
        elif rule.status is Status.HONOURED:
            kept[name] = _check_inside(value, rule, path, unknown)
        else:
            _refuse_unless_harmless(rule, value, path)
    return kept


def _check_inside(value: Any, rule: Rule, path: str, unknown: list[str]) -> Any:
    if rule.nested is not None:
        return _check_nested(value, rule.nested, path, unknown)
    if rule.by_type is not None and isinstance(value, list):
        return [_check_typed(item, rule.by_type, f"{path}[{place}].", unknown) for place, item in enumerate(value)]
    if rule.by_type is not None and isinstance(value, dict) and not isinstance(value.get("type"), str):
        return {name: _check_typed(item, rule.by_type, f"{path}.{name}.", unknown) for name, item in value.items()}
    if rule.by_type is not None:
        return _check_typed(value, rule.by_type, f"{path}.", unknown)
    if rule.each is not None and isinstance(value, dict):
        return {name: _check_nested(item, rule.each, f"{path}.{name}", unknown) for name, item in value.items()}
    return value


def _check_typed(item: Any, tables: Mapping[str, Table], prefix: str, unknown: list[str]) -> Any:
    kind = (item.get("type") or "") if isinstance(item, dict) else None
    table = tables.get(kind) if isinstance(kind, str) else None
    return item if table is None else _check_object(item, table, prefix, unknown)


def _check_nested(value: Any, table: Table, path: str, unknown: list[str]) -> Any:
    """Values of another type than object or list of objects pass; the struct's own types judge them."""
    if isinstance(value, dict):
        return _check_object(value, table, f"{path}.", unknown)
    if isinstance(value, list):
        return [
            _check_object(item, table, f"{path}[{place}].", unknown) if isinstance(item, dict) else item
            for place, item in enumerate(value)
        ]
    return value


def _refuse_unless_harmless(rule: Rule, value: Any, path: str) -> None:
    if rule.status is Status.HINT or (rule.accepts is not None and rule.accepts(value)):
        return
    if rule.status is Status.REFUSED and value in ([], {}, ""):
        return
    what = "isn't supported" if rule.status is Status.REFUSED else f"can't be {_shown(value)}"
    raise InvalidRequest(f"{path} {what}: {rule.note}", param=path, code=rule.code)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
