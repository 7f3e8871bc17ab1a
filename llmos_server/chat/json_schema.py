"""A client's JSON Schema, made ready for a grammar: annotations out, older spellings as today's, what no grammar can
follow told apart by its path.

Paths are written as in "properties.user.items.pattern".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from llguidance import LLMatcher

from llmos_server.chat.answer_check import check_schema
from llmos_server.chat.schema_keywords import (
    CHECKED_FORMATS,
    DYNAMIC,
    EFFECTLESS,
    FORMATS,
    IN_PLACE,
    LISTS,
    LOWER_BOUNDS,
    MAPS,
    MAX_EXACT,
    SCHEMAS,
    UNHELD,
    UPPER_BOUNDS,
    VALUES,
)
from llmos_server.chat.schema_paths import Schema, at, children, invalid

MAX_DEPTH = 48
"""Of schemas in schemas. (The parser of the schema's text takes 128 levels of JSON, two or three of which are one.)"""
URI_CHARACTERS = "#/%$~!&'()*+,;=:@?"
MAX_PLACES = 2000
"""Schemas that one value may have to be held against, references followed: alternatives multiply through them."""


@dataclass(slots=True)
class Unheld:
    """A constraint that the grammar doesn't follow."""

    path: str
    reason: str


@dataclass(slots=True)
class ReadySchema:
    full: Schema
    """All constraints."""
    held: Schema
    """Those that a grammar can follow."""
    unheld: list[Unheld] = field(default_factory=list)


def ready_schema(schema: Any, param: str) -> ReadySchema:
    """schema: as the client sent it; param: the request field that holds it. Raises InvalidRequest."""
    full = _normalize(schema, "", param, 0)
    if full is False:
        raise invalid(param, "", "nothing can match `false`")
    full = {} if full is True else full
    _check_references(full, param)
    check_schema(full, param)
    unheld: list[Unheld] = []
    held: Schema = _hold(full, "", unheld)
    return ReadySchema(full, held, unheld)


def _normalize(schema: Any, path: str, param: str, depth: int) -> Schema | bool:
    """A copy without nulls, annotations and unknown keywords, with older spellings replaced."""
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict):
        raise invalid(param, path, "a schema is an object, or true or false")
    if depth > MAX_DEPTH:
        raise invalid(param, path, f"schemas may be nested {MAX_DEPTH} deep; use $defs and $ref, or flatten it")
    made: Schema = {}
    for key, value in _modern(schema).items():
        if key in DYNAMIC:
            raise invalid(param, at(path, key), "dynamic references aren't supported; use $ref")
        if (value is None and key != "const") or (key in EFFECTLESS and value == EFFECTLESS[key]):
            continue
        if key in MAPS:
            _require(isinstance(value, dict), param, at(path, key), "it holds schemas by name, in an object")
            made[key] = {
                name: _normalize(child, at(path, key, name), param, depth + 1) for name, child in value.items()
            }
        elif key in LISTS:
            _require(isinstance(value, list) and value, param, at(path, key), "it holds a list of schemas, not empty")
            made[key] = [_normalize(child, at(path, key, i), param, depth + 1) for i, child in enumerate(value)]
        elif key in SCHEMAS:
            made[key] = _normalize(value, at(path, key), param, depth + 1)
        elif key in VALUES:
            made[key] = _escape(value) if key == "$ref" else value
    return made


def _require(condition: object, param: str, path: str, reason: str) -> None:
    if not condition:
        raise invalid(param, path, reason)


def _modern(schema: Schema) -> Schema:
    """Draft 4's and 7's spellings in those of 2020-12."""
    made = dict(schema)
    items = made.get("items")
    if isinstance(items, list):
        made.pop("items")
        if items:
            made["prefixItems"] = items
        if "additionalItems" in made:
            made["items"] = made["additionalItems"]
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(made.get(exclusive), bool) and made.pop(exclusive) and bound in made:
            made[exclusive] = made.pop(bound)
    dependencies = made.pop("dependencies", None)
    if isinstance(dependencies, dict):
        names = {name: value for name, value in dependencies.items() if isinstance(value, list)}
        schemas = {name: value for name, value in dependencies.items() if name not in names}
        made |= {"dependentRequired": names} if names else {}
        made |= {"dependentSchemas": schemas} if schemas else {}
    return made


def _hold(schema: Any, path: str, unheld: list[Unheld]) -> Any:
    """The part that a grammar can follow."""
    if not isinstance(schema, dict):
        return schema
    made: Schema = {}
    for key, value in schema.items():
        if key in UNHELD:
            unheld.append(Unheld(at(path, key), f"{key} can't be held by a grammar"))
        elif key == "format" and value not in FORMATS:
            if value in CHECKED_FORMATS:
                unheld.append(Unheld(at(path, key), f"the form of {value!r} isn't known"))
        elif key in LOWER_BOUNDS | UPPER_BOUNDS:
            bound = _exact_bound(key, value)
            if bound is None:
                unheld.append(Unheld(at(path, key), f"no number beyond {MAX_EXACT} can be counted"))
            else:
                made[key] = bound
        elif key == "pattern" and (problem := explain_pattern(value)):
            unheld.append(Unheld(at(path, key), problem))
        elif key in MAPS:
            made[key] = {name: _hold(child, at(path, key, name), unheld) for name, child in value.items()}
        elif key in LISTS:
            made[key] = [_hold(child, at(path, key, place), unheld) for place, child in enumerate(value)]
        elif key in SCHEMAS:
            made[key] = _hold(value, at(path, key), unheld)
        else:
            made[key] = value
    for pattern in [pattern for pattern in made.get("patternProperties", ()) if explain_pattern(pattern)]:
        unheld.append(Unheld(at(path, "patternProperties", pattern), explain_pattern(pattern)))
        made.pop("patternProperties")
        made.pop("additionalProperties", None)  # It would be about other names without the patterns.
        break
    return made


def _exact_bound(key: str, value: float) -> float | None:
    """A bound that is out of reach becomes one within it: what a grammar allows then, the schema allows, too."""
    if abs(value) <= MAX_EXACT:
        return value
    if (value < 0) == (key in LOWER_BOUNDS):
        return -MAX_EXACT if value < 0 else MAX_EXACT
    return None


def explain_pattern(pattern: Any) -> str:
    """Why a grammar can't follow this regular expression; "" if it can."""
    if not isinstance(pattern, str):
        return "it is no text"
    schema = {"type": "string", "pattern": pattern}
    is_error, messages = LLMatcher.validate_grammar_with_warnings(LLMatcher.grammar_from_json_schema(schema))
    return summarize(messages[0]) if is_error else ""


def summarize(message: str) -> str:
    """The parser's words, without the text that it repeats."""
    if message.startswith("oneOf"):
        return "its alternatives overlap, so that a grammar can't tell that exactly one of them matches"
    lines = [line.strip() for line in message.split("; following special tokens")[0].strip().splitlines()]
    reason = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), None)
    return (f"the regular expression can't be used: {reason}" if reason else lines[0][:300]).rstrip(".")


def _check_references(root: Schema, param: str) -> None:
    """Each points into the schema, and following them ends."""
    places: dict[int, int] = {}

    def count(schema: Any, path: str) -> int:
        """How many schemas a value is held against here."""
        if not isinstance(schema, dict):
            return 1
        if id(schema) in places:
            if places[id(schema)] == 0:
                raise invalid(param, path, "it refers to itself without an end")
            return places[id(schema)]
        places[id(schema)] = 0
        total = 1
        if "$ref" in schema:
            total += count(_resolve(root, schema["$ref"], at(path, "$ref"), param), at(path, "$ref"))
        for keys, child in children(schema):
            if keys[0] in IN_PLACE:
                total += count(child, at(path, *keys))
        places[id(schema)] = min(total, MAX_PLACES + 1)
        return places[id(schema)]

    def walk(schema: Any, path: str) -> None:
        if isinstance(schema, dict):
            if count(schema, path) > MAX_PLACES:
                raise invalid(param, path, f"one value would have more than {MAX_PLACES} alternatives; simplify it")
            for keys, child in children(schema):
                walk(child, at(path, *keys))

    walk(root, "")


def _resolve(root: Schema, reference: Any, path: str, param: str) -> Any:
    if reference == "#":
        return root
    if not isinstance(reference, str) or not reference.startswith("#/"):
        raise invalid(param, path, "references begin with #/ and stay in the schema")
    found: Any = root
    for part in reference[2:].split("/"):
        key = _unescape(part)
        if isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        elif isinstance(found, dict) and key in found:
            found = found[key]
        else:
            raise invalid(param, path, f"{reference[:100]!r} isn't in the schema")
    if not isinstance(found, dict | bool):
        raise invalid(param, path, f"{reference[:100]!r} is no schema")
    return found


def _escape(reference: Any) -> Any:
    """A reference as a URI: many write names as they are, with letters and spaces that a URI can't have."""
    return quote(reference, safe=URI_CHARACTERS) if isinstance(reference, str) else reference


def _unescape(part: str) -> str:
    """As a JSON pointer in a URL's fragment writes it."""
    return unquote(part).replace("~1", "/").replace("~0", "~")
