"""Which languages are parsed, and what a parser says: Python (by ast), JSON and TOML. Others are passed on as they are.

tree-sitter would parse more, at a compiled package for each language: more than this is worth.
"""

from __future__ import annotations

import ast
import json
import threading
import tomllib
import warnings
from collections.abc import Callable

ALIASES = {"py": "python", "python3": "python", "py3": "python"}

_quiet = threading.Lock()
"""Warnings are filtered for the whole process; one at a time, so that each puts back what it found."""


def canonical(language: str) -> str:
    return ALIASES.get(language.lower(), language.lower())


def is_parsed(language: str) -> bool:
    return canonical(language) in PARSERS


def find_error(language: str, code: str) -> str:
    """What keeps the code from parsing, with the line; "" where it parses, or isn't parsed here."""
    parser = PARSERS.get(canonical(language))
    if parser is None:
        return ""
    if not code.strip():
        return "there is no code"
    try:
        return parser(code)
    except (RecursionError, MemoryError):
        return "it is nested too deeply"


def _python(code: str) -> str:
    try:
        with _quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of escape sequences and the like: it parses.
            tree = ast.parse(code)
    except SyntaxError as error:
        line = (error.text or "").strip()
        return f"line {error.lineno or 1}: {error.msg}" + (f": {line[:200]}" if line else "")
    except ValueError as error:  # A null character.
        return str(error)
    words = all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Name) for node in tree.body)
    return "there is no code, only words" if words else ""


def _json(code: str) -> str:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    try:
        json.loads(code, parse_constant=refuse)
    except ValueError as error:
        return str(error)
    return ""


def _toml(code: str) -> str:
    try:
        tomllib.loads(code)
    except tomllib.TOMLDecodeError as error:
        return str(error)
    return ""


PARSERS: dict[str, Callable[[str], str]] = {"python": _python, "json": _json, "toml": _toml}
