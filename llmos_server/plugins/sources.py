"""Where plugins are found: beside LLMOS, in folders that settings name, in installed packages."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from llmos_server.errors import SettingsError

BUILT_IN = "llmos_plugins"
GROUP = "llmos"
"""Of the packages' entry points."""
NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
FILE = "plugin.py"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A plugin that was found and not imported yet."""

    name: str
    source: str
    """For people: "built-in", "folder /path", "package NAME"."""
    version: str = ""
    load: Callable[[], object]
    """Imports it: a module, or an object with the hooks as methods. Raises whatever it likes."""


def find_plugins(folders: Sequence[str], *, built_in: bool = True) -> Iterator[Candidate]:
    """In the order in which names are given away. Raises SettingsError for a folder that isn't one of plugins."""
    if built_in:
        yield from _built_in()
    for folder in folders:
        yield from _in_folder(Path(folder).expanduser().absolute())
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        yield _packaged(entry)


def _built_in() -> Iterator[Candidate]:
    package = importlib.import_module(BUILT_IN)
    for root in package.__path__:
        for file in sorted(Path(root).glob(f"*/{FILE}")):
            module = f"{BUILT_IN}.{file.parent.name}.plugin"
            load = functools.partial(importlib.import_module, module)
            yield Candidate(name=file.parent.name, source="built-in", load=load)


def _in_folder(folder: Path) -> Iterator[Candidate]:
    """The folder is a plugin, or holds folders that are."""
    files = [folder / FILE] if (folder / FILE).is_file() else sorted(folder.glob(f"*/{FILE}"))
    if not files:
        raise SettingsError(f"plugins.folders: {folder} holds no {FILE}, and no folder with one.")
    for file in files:
        load = functools.partial(_import_folder, file.parent)
        yield Candidate(name=file.parent.name, source=f"folder {file.parent}", load=load)


def _import_folder(folder: Path) -> ModuleType:
    """plugin.py as a module of a package made of its folder, so that it can say `from . import other`."""
    package = f"llmos_plugin_{folder.name.replace('-', '_')}"
    known = sys.modules.get(package)
    if known is None or list(known.__path__) != [str(folder)]:
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            del sys.modules[name]
        spec = ModuleSpec(package, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[package] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"{package}.plugin")


def _packaged(entry: EntryPoint) -> Candidate:
    dist = entry.dist
    source = f"package {dist.name}" if dist is not None else "package"
    return Candidate(name=entry.name, source=source, version=dist.version if dist is not None else "", load=entry.load)
