"""Recipes: YAML in TRL's own format, flat, with the command that launches it on top. Torch-free.

The file says what `trl` would do with it, and `llmos tune` does the same with it: a key means what it means to TRL.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from llmos_server.errors import InvalidRequest
from llmos_server.training.auto import AUTO_KEYS
from llmos_server.training.methods.table import METHODS, get_method
from llmos_server.training.refused_keys import REFUSED
from llmos_server.training.trl_keys import as_typed, known_keys

AUTO = "auto"
"""As a value in --set: the run chooses."""
MAX_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What one file says."""

    method: str
    values: dict[str, Any]
    """Checked, and of the types that TRL has."""
    auto: frozenset[str] = frozenset()
    """Keys that the run chooses; not in values."""


def read_recipe(path: Path) -> Recipe:
    """Raises InvalidRequest: `param` is the key that can't be used, or None for what is no recipe."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidRequest(f"{path}: longer than {MAX_BYTES} bytes, so it is no recipe.")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"{path}: can't be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path}: is not UTF-8.") from None
    try:
        return parse_recipe(text)
    except InvalidRequest as error:
        raise InvalidRequest(f"{path}: {error}", param=error.param) from None


def parse_recipe(text: str) -> Recipe:
    """The content of a file. Raises InvalidRequest."""
    method = _launched_method(text)
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidRequest(f"is no YAML: {' '.join(str(error).split())}") from None
    if values is None:
        values = {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InvalidRequest("holds no flat mapping from keys to values, as TRL's configuration files do.")
    return Recipe(method=method, values=_checked(method, values))


def override(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """With each "key=value" of --set, the value written as in YAML; "auto" leaves a key of AUTO_KEYS to the run."""
    for setting in settings:
        key, equals, written = setting.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise InvalidRequest(f"--set {setting}: write it as key=value.", param=key or None)
        try:
            value = yaml.safe_load(written)
        except yaml.YAMLError:
            raise InvalidRequest(f"--set {key}: {written!r} is no YAML value.", param=key) from None
        recipe = with_values(recipe, {key: value})
    return recipe


def with_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """With these over its own; "auto" leaves a key of AUTO_KEYS to the run. Raises InvalidRequest."""
    kept, auto = dict(recipe.values), set(recipe.auto)
    for key, value in values.items():
        auto.discard(key)
        if value == AUTO and key in AUTO_KEYS:
            kept.pop(key, None)
            auto.add(key)
        else:
            kept |= _checked(recipe.method, {key: value})
    return replace(recipe, values=kept, auto=frozenset(auto))


def _checked(method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    known = known_keys(method)
    checked = {}
    for key, value in values.items():
        if key in REFUSED and not REFUSED[key].is_harmless(value):
            raise InvalidRequest(f"{key}: {REFUSED[key].remedy}", param=key)
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise InvalidRequest(f"{key!r} is no key that {method} takes.{hint}", param=key)
        checked[key] = as_typed(key, value, known[key])
    return checked


def _launched_method(text: str) -> str:
    """Of the first comment that is a command: "# trl sft --config x.yaml", "# llmos tune x.yaml --method dpo"."""
    for line in text.splitlines():
        if not line.startswith("#"):
            if line.strip():
                break
            continue
        try:
            words = shlex.split(line.lstrip("# ").strip())
        except ValueError:
            continue
        if words[:1] == ["trl"] and len(words) > 1:
            get_method(words[1])
            return words[1]
        if words[:2] == ["llmos", "tune"] and "--method" in words[:-1]:
            method = words[words.index("--method") + 1]
            get_method(method)
            return method
    raise InvalidRequest(
        "has no launch command on top. Begin the file with a comment such as '# trl sft --config FILE' or "
        f"'# llmos tune FILE --method NAME'; methods are {', '.join(METHODS)}."
    )
