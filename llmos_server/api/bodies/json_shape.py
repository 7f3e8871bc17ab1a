"""What valid JSON may not be like, all the same: nested too deeply, or with a field twice."""

from __future__ import annotations

import json
from typing import Any

from llmos_server.api.bodies.json_outline import Outline
from llmos_server.errors import InvalidRequest

MAX_DEPTH = 100
"""Objects and lists inside each other. Clients send about ten, schemas of tools perhaps thirty."""


def check_shape(raw: bytes, body: dict[str, Any], outline: Outline) -> None:
    """raw: what body was decoded from. Raises InvalidRequest."""
    num_keys = _count_keys(body)
    # A decoder keeps the last of equal names. Then there are more colons than names; but texts hold colons, too.
    if raw.count(b":") != num_keys and outline.num_names != num_keys:
        json.loads(raw, object_pairs_hook=_refuse_double)


def _count_keys(body: dict[str, Any]) -> int:
    """Level by level, so that no depth is too much."""
    level: list[Any] = [body]
    num_keys = 0
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for container in level:
            if isinstance(container, dict):
                num_keys += len(container)
                inner += [item for item in container.values() if isinstance(item, dict | list)]
            else:
                inner += [item for item in container if isinstance(item, dict | list)]
        if not inner:
            return num_keys
        level = inner
    raise _invalid(f"The body is nested too deeply: at most {MAX_DEPTH} objects and lists may be inside each other.")


def _refuse_double(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    seen: set[str] = set()
    double = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    raise _invalid(f"The field {double[:100]!r} stands twice in one object; send it once.", param=double)


def _invalid(message: str, param: str | None = None) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="invalid_json")
