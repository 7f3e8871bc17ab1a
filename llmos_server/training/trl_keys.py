"""The keys of a recipe and their types, read from the sources of the installed TRL and Transformers.

Importing those takes ten seconds and torch; their dataclasses are plain enough to be read as text.
"""

from __future__ import annotations

import ast
import functools
import sysconfig
from pathlib import Path
from typing import Any

from llmos_server.errors import InvalidRequest, SettingsError
from llmos_server.training.methods.table import OURS, Place, get_method

WORDS = {"true": True, "false": False, "yes": True, "no": False}
"""What a string may say where a key is yes or no, as TRL reads it."""


@functools.cache
def known_keys(method: str) -> dict[str, frozenset[str]]:
    """Key -> the names of the types that its value may have ("int", "float", "str", "bool", "list", "dict", "None").

    Raises SettingsError where the training libraries aren't installed, InvalidRequest for an unknown method.
    """
    return {key: types for place in get_method(method).keys for key, types in _fields(place).items()}


@functools.cache
def _fields(place: Place) -> dict[str, frozenset[str]]:
    file, name = place
    path = Path(sysconfig.get_path("purelib"), file)
    if file.startswith(OURS):
        path = Path(__file__).parent / file.removeprefix(OURS)
    elif not path.is_file():
        path = Path(sysconfig.get_path("platlib"), file)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except OSError:
        raise SettingsError("Tuning needs TRL and PEFT, which aren't installed: pip install 'llmos[train]'") from None
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return {
        node.target.id: frozenset(_type_names(node.annotation))
        for node in body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _type_names(annotation: ast.expr) -> list[str]:
    match annotation:
        case ast.BinOp(left=left, right=right):
            return [*_type_names(left), *_type_names(right)]
        case ast.Subscript(value=ast.Name(id="Literal")):
            return ["str"]
        case ast.Subscript(value=value):
            return _type_names(value)
        case ast.Constant(value=None):
            return ["None"]
        case ast.Name(id=name):
            return [name if name in ("int", "float", "str", "bool", "list", "dict") else "str"]
    raise ValueError(f"unknown annotation {ast.unparse(annotation)}")


def as_typed(key: str, value: Any, types: frozenset[str]) -> Any:
    """The value as the key's type has it, for YAML reads 1e-4 as text. Raises InvalidRequest naming the key."""
    if value is None and "None" in types:
        return None
    if isinstance(value, bool):
        if "bool" in types:
            return value
        if value is False and "str" in types:  # YAML 1.1 reads an unquoted no so, as in save_strategy: no.
            return "no"
    elif isinstance(value, int | float):
        if found := _as_number(value, types):
            return found[0]
    elif isinstance(value, str):
        if found := _from_text(value, types):
            return found[0]
    elif type(value).__name__ in types:
        return value
    wanted = " or ".join(sorted(types - {"None"}))
    raise InvalidRequest(f"{key}: {value!r} is no {wanted}.", param=key)


def _as_number(value: int | float, types: frozenset[str]) -> tuple[Any] | None:
    if "int" in types and value == int(value):
        return (int(value),)
    if "float" in types:
        return (float(value),)
    return None


def _from_text(value: str, types: frozenset[str]) -> tuple[Any] | None:
    if "bool" in types and value.lower() in WORDS:
        return (WORDS[value.lower()],)
    if types & {"int", "float"}:
        try:
            number = float(value)
        except ValueError:
            number = None
        if number is not None and (found := _as_number(number, types)):
            return found
    if "list" in types and "str" not in types:
        return ([value],)
    return (value,) if "str" in types else None
