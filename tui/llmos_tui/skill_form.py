"""A form's fields from a JSON Schema, and the values from what was written in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

Kind = Literal["text", "choice", "bool", "int", "float", "names", "json"]

LONG = 1000
"""Characters, from which on a field is taken for one of many lines."""
NOTHING = ""
"""A choice that leaves the field out."""


class NotAValue(ValueError):
    """What was written can't be this field's; the text is for the user."""


@dataclass(frozen=True)
class FormField:
    """One of the skill's input. default: as JSON, None where there is none."""

    name: str
    kind: Kind
    is_required: bool
    choices: tuple[str, ...] = ()
    hint: str = ""
    default: Any = None
    is_long: bool = False
    """A text that may have many lines."""


def form_fields(schema: Mapping[str, Any]) -> list[FormField]:
    """In the schema's order, required ones first."""
    required = set(schema.get("required", ()))
    found = [_field(name, part, name in required) for name, part in schema.get("properties", {}).items()]
    return sorted(found, key=lambda field: not field.is_required)


def _field(name: str, schema: Mapping[str, Any], is_required: bool) -> FormField:
    inner = _without_null(schema)
    default = schema.get("default")
    kind, choices = _kind(inner)
    if kind == "bool":
        choices = ("yes", "no") if default is True else ("no", "yes")
    elif kind == "choice" and not is_required:
        rest = tuple(choice for choice in choices if choice != default)
        choices = (default, *rest) if default in choices else (NOTHING, *rest)
    return FormField(name, kind, is_required, choices, _hint(kind, inner, default), default, _is_long(kind, inner))


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    parts = [part for part in schema.get("anyOf", ()) if part.get("type") != "null"]
    return parts[0] if len(parts) == 1 else schema


def _kind(schema: Mapping[str, Any]) -> tuple[Kind, tuple[str, ...]]:
    choices = schema.get("enum", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        return "choice", tuple(choices)
    simple: dict[str, Kind] = {"string": "text", "boolean": "bool", "integer": "int", "number": "float"}
    if schema.get("type") in simple:
        return simple[schema["type"]], ()
    if schema.get("type") == "array" and _takes_texts(schema.get("items", {})):
        return "names", ()
    return "json", ()


def _is_long(kind: Kind, schema: Mapping[str, Any]) -> bool:
    return kind == "text" and "pattern" not in schema and schema.get("maxLength", LONG + 1) > LONG


def _takes_texts(items: Mapping[str, Any]) -> bool:
    return any(part.get("type") == "string" and "enum" not in part for part in items.get("anyOf", (items,)))


def _hint(kind: Kind, schema: Mapping[str, Any], default: Any) -> str:
    bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    parts = [
        {"names": "with commas, or JSON", "json": "JSON", "int": "a whole number", "float": "a number"}.get(kind, ""),
        " ".join(f"{word} {schema[name]:g}" for name, word in bounds.items() if name in schema),
        schema.get("description", ""),
        f"else {json.dumps(default, ensure_ascii=False)}" if default not in (None, "", [], {}) else "",
    ]
    return "; ".join(part for part in parts if part)


def read_values(fields: list[FormField], written: Mapping[str, str]) -> dict[str, Any]:
    """Without those that nothing was written in. Raises NotAValue."""
    found: dict[str, Any] = {}
    for field in fields:
        text = written.get(field.name, "")
        if text.strip():
            found[field.name] = read_value(field, text)
        elif field.is_required:
            raise NotAValue(f"{field.name} is needed.")
    return found


def read_value(field: FormField, text: str) -> Any:
    """The server checks bounds and says what is wrong; here only what can't be JSON of the field's kind is refused."""
    if field.kind in ("text", "choice"):
        return text
    if field.kind == "bool":
        return text == "yes"
    if field.kind == "names" and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        value = msgspec.json.decode(text)  # Not json.loads, which takes NaN and Infinity.
    except msgspec.DecodeError as error:
        raise NotAValue(f"{field.name}: {_expected(field)} ({error}).") from None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if (field.kind == "float" and not is_number) or (field.kind == "int" and not (is_number and value == int(value))):
        raise NotAValue(f"{field.name}: {_expected(field)}.")
    return int(value) if field.kind == "int" else value


def _expected(field: FormField) -> str:
    return {"int": "it is a whole number", "float": "it is a number"}.get(field.kind, "it has to be JSON")
