"""Random JSON schemas that something can match, as programs send them: nesting, enums, patterns, unions, ranges,
references, Unicode keys, annotations, and keywords that are null.

The same seed gives the same schemas on every machine. Each can be met by a short answer, so that a small model gets
to the end of many.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]

NAMES = ("id", "name", "items", "type", "properties", "$ref", "const", "ключ", "日本", "naïve", "e\u0301", "😀", "a b",
         'quo"te', "back\\slash", "", "a/b~c", "__proto__", "line\nbreak", "\u2028", "x" * 40)  # fmt: skip
VALUES = ("red", "green", "", "née", "日本語", 'say "no"', "a\\b", "tab\there", "😀😀", "null", "<|im_end|>")
PATTERNS = ("^[a-z]{1,5}$", "^(ab|cd)+$", r"^\d{3}-\d{4}$", "^[A-Z][a-z]*( [A-Z][a-z]*)?$", "^(?:yes|no|maybe)$",
            r"^[\w.]{1,8}@x\.org$", "^é{1,2}$", "^#[0-9a-fA-F]{6}$", "a", "^x", r"\.$")  # fmt: skip
FORMATS = ("date", "date-time", "time", "uuid", "email", "ipv4", "ipv6")
ANNOTATIONS: Schema = {
    "title": "A thing",
    "description": "What it is: \u00e9 \u4e16",
    "examples": [None, 1, {"a": []}],
    "default": None,
    "deprecated": False,
    "readOnly": True,
    "$comment": "note",
    "x-order": 3,
}
NULLABLE = ("title", "description", "minLength", "pattern", "enum", "format", "items", "anyOf", "maximum", "required")
"""Keywords that some clients send as null where they mean none."""
DIALECTS = ("https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema#")


@dataclass(frozen=True, slots=True)
class Case:
    sent: Schema
    """With annotations and nulls."""
    meant: Schema
    """The same for a validator, which takes no nulls."""
    strict: bool
    """False: there is something in it that no grammar holds."""


def generate(seed: int | str, *, unheld: float = 0.1) -> Case:
    """unheld: the share of schemas with a constraint that is only checked afterwards."""
    rng = random.Random(f"schema-{seed}")
    maker = _Maker(rng)
    meant = maker.object(depth=rng.choice((1, 1, 2, 2, 3))) if rng.random() < 0.8 else maker.any(depth=2)
    strict = rng.random() >= unheld
    if not strict:
        name, (part, needed) = rng.choice(NAMES), rng.choice(_UNHELD)
        meant = {"type": "object", "properties": {name: part, "rest": meant}, "required": [name, *needed]}
        meant["additionalProperties"] = False
    if maker.definitions:
        meant["$defs"] = maker.definitions
    if rng.random() < 0.5:
        meant["$schema"] = rng.choice(DIALECTS) if not maker.is_modern else DIALECTS[0]
    return Case(_with_noise(rng, meant), meant, strict)


def parameters(seed: int | str) -> Schema:
    """Of a function: an object with named properties."""
    rng = random.Random(f"parameters-{seed}")
    maker = _Maker(rng)
    made = maker.closed_object(depth=rng.choice((1, 1, 2)))
    if maker.definitions:
        made["$defs"] = maker.definitions
    return _with_noise(rng, made)


class _Maker:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.definitions: dict[str, Schema] = {}
        self.is_modern = False
        """Holds what only 2020-12 spells like that."""

    def any(self, depth: int) -> Schema:
        leaves: list[Callable[[], Schema]] = [
            self.text, self.text, self.pattern, self.format, self.enum, self.const, self.integer, self.number,
            lambda: {"type": "boolean"}, lambda: {"type": "null"}, self.type_list]  # fmt: skip
        if depth <= 0:
            return self._rng.choice(leaves)()
        inner: list[Callable[[int], Schema]] = [
            self.object, self.object, self.array, self.array, self.tuple, self.union, self.tagged, self.nullable,
            self.merged, self.reference, self.recursive]  # fmt: skip
        return self._rng.choice(leaves)() if self._rng.random() < 0.4 else self._rng.choice(inner)(depth - 1)

    def text(self) -> Schema:
        made: Schema = {"type": "string", "maxLength": self._rng.randint(1, 20)}
        if self._rng.random() < 0.3:
            made["minLength"] = self._rng.randint(0, made["maxLength"])
        return made

    def pattern(self) -> Schema:
        return {"type": "string", "pattern": self._rng.choice(PATTERNS), "maxLength": 24}

    def format(self) -> Schema:
        return {"type": "string", "format": self._rng.choice(FORMATS)}

    def enum(self) -> Schema:
        if self._rng.random() < 0.1:
            return {"enum": [f"value {number}" for number in range(self._rng.randint(100, 500))]}
        values: list[Any] = [*self._rng.sample(VALUES, 4), 1, -2.5, True, None, [1, "x"], {"a": {"b": []}}]
        return {"enum": self._rng.sample(values, self._rng.randint(1, 5))}

    def const(self) -> Schema:
        return {"const": self._rng.choice([*VALUES, 0, 12.5, False, None, [], {"k": "v", "w": [1, 2]}])}

    def integer(self) -> Schema:
        made: Schema = {"type": "integer"}
        low = self._rng.randint(-(10**6), 10**6)
        for key, value in (
            ("minimum", low),
            ("maximum", low + self._rng.randint(0, 5000)),
            ("exclusiveMinimum", low - 1),
        ):
            if self._rng.random() < 0.6:
                made[key] = value
        if "maximum" not in made:
            made["maximum"] = 10**9
        if self._rng.random() < 0.2:
            made = {"type": "integer", "multipleOf": self._rng.choice((2, 7, 10)), "minimum": 0, "maximum": 10**4}
        return made

    def number(self) -> Schema:
        low = self._rng.randint(-1000, 1000) / self._rng.choice((1, 10, 1000))
        made: Schema = {"type": "number", "minimum": low, "maximum": low + self._rng.choice((0.5, 3, 100.25))}
        if self._rng.random() < 0.3:
            made["exclusiveMaximum"] = made.pop("maximum")
        return made

    def type_list(self) -> Schema:
        return {"type": self._rng.choice((["string", "null"], ["integer", "null"], ["boolean", "number"])),
                "maxLength": 8, "maximum": 99}  # fmt: skip

    def object(self, depth: int) -> Schema:
        made = self.closed_object(depth)
        choice = self._rng.random()
        if choice < 0.15:
            made.pop("additionalProperties")
        elif choice < 0.3:
            made["additionalProperties"] = self._rng.choice(({"type": "integer", "maximum": 9}, {"type": "boolean"}))
        elif choice < 0.4:
            made = {"type": "object", "patternProperties": {"^k_[a-c]$": self.any(0), "^n": {"type": "null"}}}
            made["additionalProperties"] = False
        elif choice < 0.5:
            made = {"type": "object", "additionalProperties": self.any(0), "maxProperties": 2}
        return made

    def closed_object(self, depth: int) -> Schema:
        names = self._rng.sample(NAMES, self._rng.randint(1, 4))
        made: Schema = {"type": "object", "properties": {name: self.any(depth - 1) for name in names}}
        if self._rng.random() < 0.8:
            required = names if self._rng.random() < 0.7 else names[: len(names) // 2]
            made["required"] = self._rng.sample(required, len(required))
        made["additionalProperties"] = False
        return made

    def array(self, depth: int) -> Schema:
        most = self._rng.randint(1, 3)
        return {"type": "array", "items": self.any(depth), "minItems": self._rng.randint(0, most), "maxItems": most}

    def tuple(self, depth: int) -> Schema:
        self.is_modern = True
        parts = [self.any(depth) for _ in range(self._rng.randint(1, 3))]
        return {"type": "array", "prefixItems": parts, "items": False, "minItems": len(parts)}

    def union(self, depth: int) -> Schema:
        return {"anyOf": [self.any(depth) for _ in range(self._rng.randint(2, 4))]}

    def nullable(self, depth: int) -> Schema:
        return {"anyOf": [self.any(depth), {"type": "null"}]}

    def tagged(self, depth: int) -> Schema:
        """Alternatives that a property tells apart."""
        kinds = self._rng.sample(("cat", "dog", "näh", "日"), self._rng.randint(2, 3))
        return {"oneOf": [self._alternative(kind, depth) for kind in kinds]}

    def _alternative(self, kind: str, depth: int) -> Schema:
        properties = {"kind": {"const": kind}, f"of {kind}": self.any(depth)}
        return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}

    def merged(self, depth: int) -> Schema:
        first, second = ({"type": "object", "properties": {name: self.any(depth - 1)}, "required": [name]}
                         for name in self._rng.sample(NAMES, 2))  # fmt: skip
        return {"allOf": [first, second, {"maxProperties": 2}]}

    def reference(self, depth: int) -> Schema:
        self.is_modern = True  # Draft 7 has "definitions", which are read as well.
        name = self._rng.choice(("Thing", "sp ace", "til~de", "Ünï"))
        if name not in self.definitions:
            self.definitions[name] = {}
            self.definitions[name] = self.any(depth)
        escaped = name.replace("~", "~0").replace(" ", "%20")
        return {"$ref": f"#/$defs/{escaped}"} if self.definitions[name] else self.text()

    def recursive(self, depth: int) -> Schema:
        self.is_modern = True
        self.definitions["Node"] = {
            "type": "object",
            "properties": {
                "value": {"type": "integer", "minimum": 0, "maximum": 99},
                "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Node"}]},
            },
            "required": ["value", "next"],
            "additionalProperties": False,
        }
        return {"$ref": "#/$defs/Node"}


def _with_noise(rng: random.Random, schema: Any) -> Any:
    """A copy with annotations and nulls in any of its schemas."""
    if not isinstance(schema, dict):
        return schema
    made: Schema = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties", "$defs"):
            made[key] = {name: _with_noise(rng, part) for name, part in value.items()}
        elif key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            made[key] = [_with_noise(rng, part) for part in value]
        elif key in ("items", "additionalProperties"):
            made[key] = _with_noise(rng, value)
        else:
            made[key] = value
    for key in rng.sample(list(ANNOTATIONS), rng.randint(0, 3)):
        made.setdefault(key, ANNOTATIONS[key])
    if rng.random() < 0.3:
        made.setdefault(rng.choice(NULLABLE), None)
    return made


_UNHELD: list[tuple[Schema, list[str]]] = [
    ({"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "maxItems": 3, "uniqueItems": True}, []),
    ({"type": "string", "maxLength": 6, "not": {"pattern": "e"}}, []),
    ({"type": "string", "pattern": "^(?=.*[0-9])[a-z0-9]{1,6}$"}, []),
    ({"type": "array", "items": {"type": "boolean"}, "maxItems": 2, "contains": {"const": True}}, []),
    ({"oneOf": [{"type": "integer", "maximum": 5}, {"type": "integer", "minimum": 3, "maximum": 9}]}, []),
    ({"type": "object", "additionalProperties": {"type": "null"}, "maxProperties": 2,
      "propertyNames": {"maxLength": 3}}, []),
    ({"type": "integer", "maximum": 9, "minimum": 0, "if": {"minimum": 5}, "then": {"multipleOf": 2}}, []),
]  # fmt: skip
"""Schemas of a property with a part that no grammar holds."""
