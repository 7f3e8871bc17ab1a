"""Random tool sets, by a seed: what programs and MCP servers send, with its oddities."""

from __future__ import annotations

import random
from typing import Any

WORDS = ["city", "días", "from", "to", "unit", "名前", "max count", "e-mail", "query", "größe", "$filter", "item.id"]
TEXTS = ["The weather.", "Größe in cm, e.g. „180“", "東京の天気 🌦", 'Say "hi"\nand <|im_end|>', "a" * 300]
ANNOTATIONS: list[dict[str, Any]] = [
    {},
    {"title": "T"},
    {"description": "d", "default": None},
    {"examples": ["x"], "x-order": 1},
    {"$comment": "c", "title": None},
]


def create_tools(seed: int) -> list[dict[str, Any]]:
    """One to five functions; some have no parameters, and none of them twice the same name."""
    rng = random.Random(seed)
    names = rng.sample(["get", "get_weather", "get.weather", "search-web", "_run", "Zip9", "a" * 64], rng.randint(1, 5))
    return [{"type": "function", "function": _function(rng, name)} for name in names]


def _function(rng: random.Random, name: str) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name}
    if rng.random() < 0.8:
        function["description"] = rng.choice(TEXTS)
    if rng.random() < 0.3:
        function["strict"] = rng.choice([True, False, None])
    if rng.random() < 0.1:
        return function
    parameters = _object(rng, 0)
    if rng.random() < 0.4:
        parameters["$schema"] = rng.choice(
            ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"]
        )
    if rng.random() < 0.2:
        parameters["$defs"] = {"Point": _object(rng, 2)}
        parameters["properties"]["at"] = {"$ref": "#/$defs/Point"}
    return {**function, "parameters": parameters}


def _object(rng: random.Random, depth: int) -> dict[str, Any]:
    names = rng.sample(WORDS, rng.randint(0 if depth else 1, 4))
    schema: dict[str, Any] = {"type": "object", "properties": {name: _value(rng, depth + 1) for name in names}}
    if rng.random() < 0.8:
        schema["required"] = rng.sample(names, rng.randint(0, len(names)))
    if rng.random() < 0.4:
        schema["additionalProperties"] = False
    return schema


def _value(rng: random.Random, depth: int) -> dict[str, Any]:
    kinds = [_text, _number, _enum, _flag, _nullable, _union]
    kinds += [_object, _list, _list] if depth < 3 else []
    return {**rng.choice(kinds)(rng, depth), **rng.choice(ANNOTATIONS)}


def _text(rng: random.Random, depth: int) -> dict[str, Any]:
    return {
        "type": "string",
        **rng.choice(
            [
                {"maxLength": rng.randint(1, 12)},
                {"minLength": 2, "maxLength": 8},
                {"pattern": "^[A-Z]{3}-[0-9]{2,4}$"},
                {"format": "date"},
                {"format": "uuid"},
            ]
        ),
    }


def _number(rng: random.Random, depth: int) -> dict[str, Any]:
    low = rng.randint(-1000, 1000)
    kind = rng.choice(["integer", "number"])
    bounds: dict[str, Any] = rng.choice([{"minimum": low}, {"exclusiveMaximum": low}, {}])
    bounds = {"minimum": low, "maximum": low + rng.randint(0, 50)} if rng.random() < 0.5 else bounds
    return {"type": kind, **bounds}


def _enum(rng: random.Random, depth: int) -> dict[str, Any]:
    return rng.choice([{"enum": ["°C", "°F", "K"]}, {"type": "string", "enum": ["a", "b\n"]}, {"const": 7}])


def _flag(rng: random.Random, depth: int) -> dict[str, Any]:
    return {"type": rng.choice(["boolean", "null"])}


def _nullable(rng: random.Random, depth: int) -> dict[str, Any]:
    return rng.choice(
        [{"type": ["integer", "null"]}, {"anyOf": [_enum(rng, depth), {"type": "null"}], "default": None}]
    )


def _union(rng: random.Random, depth: int) -> dict[str, Any]:
    return {"anyOf": [_text(rng, depth), _number(rng, depth)]}


def _list(rng: random.Random, depth: int) -> dict[str, Any]:
    return {"type": "array", "items": _value(rng, depth + 1), "minItems": rng.randint(0, 1), "maxItems": 2}
