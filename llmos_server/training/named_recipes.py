"""Recipes by name: those that come with LLMOS, and those of plugins, as PLUGIN:NAME. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from llmos_recipes import find_recipe, recipe_names

from llmos_server.errors import InvalidRequest
from llmos_server.plugins.host import PluginHost

_COMMAND = re.compile(r"(trl|llmos) |--")
"""How a comment of launch commands begins."""
_FIRST_WORDS = re.compile(r"[^.:]*")


def recipe_files(plugins: PluginHost) -> dict[str, Path]:
    """By name, LLMOS's own first. Of a plugin's two of one name the first counts."""
    files = {name: path for name in recipe_names() if (path := find_recipe(name))}
    for offer in plugins.offers("register_recipes"):
        files.setdefault(f"{offer.plugin}:{offer.name}", offer.value)
    return files


def find_named_recipe(name: str, load: Callable[[], PluginHost], param: str | None = None) -> Path:
    """load: asked for plugins where LLMOS itself has no such recipe.

    Raises InvalidRequest, which tells those that there are.
    """
    own = find_recipe(name)
    if own is not None:
        return own
    files = recipe_files(load())
    name = name.removesuffix(".yaml")
    if name not in files:
        raise InvalidRequest(
            f"There is no recipe {name!r}; there are {', '.join(files)}.", param=param, code="unknown_recipe"
        )
    return files[name]


def describe_recipe(path: Path) -> str:
    """The first words of its comment that are no command."""
    told: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words = line.lstrip("# ")
        if not _COMMAND.match(words):
            told.append(words)
    return _FIRST_WORDS.match(" ".join(told))[0]  # type: ignore[index]  # It matches nothing, too.
