"""JSON objects of a model's folder, from untrusted bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from llmos_server.errors import PullError, UnsupportedModel

MAX_JSON_BYTES = 64 * 2**20
MAX_DEPTH = 64
TOO_DEEP = "nested too deeply"


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """A JSON object that can be written again: finite numbers, whole characters, not nested beyond MAX_DEPTH.

    Raises PullError with the path and the remedy.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise PullError(f"{path}: too large for a JSON file of a model. {remedy}")
        values = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse, parse_float=_finite)
        _check(values)
    except OSError as error:
        raise PullError(f"{path}: can't be read ({error.strerror}). {remedy}") from None
    except ValueError as error:
        raise PullError(f"{path}: not valid JSON ({error}). {remedy}") from None
    except RecursionError:
        raise PullError(f"{path}: not valid JSON ({TOO_DEEP}). {remedy}") from None
    if not isinstance(values, dict):
        raise PullError(f"{path}: not a JSON object. {remedy}")
    return values


def optional_json(path: Path) -> dict[str, Any]:
    """The same; empty when there is no such file."""
    return read_json(path, "Mend or remove it.") if path.is_file() else {}


def read_flag(values: Mapping[str, Any], key: str, default: bool) -> bool:
    """True or false; null is like no such key. Raises UnsupportedModel for anything else."""
    value = values.get(key)
    if value is not None and not isinstance(value, bool):
        raise UnsupportedModel(f"tokenizer_config.json: {key} is {value!r:.100}; true or false is needed.")
    return default if value is None else value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number there")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number that is too large")
    return number


def _check(values: Any) -> None:
    """Raises ValueError. Level by level, not by recursion: nothing is known of the depth."""
    level = [values]
    for _ in range(MAX_DEPTH):
        for value in level:
            for text in value if isinstance(value, dict) else (value,) if isinstance(value, str) else ():
                text.encode()  # A lone surrogate can't be.
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
        ]
        if not level:
            return
    raise ValueError(TOO_DEEP)
