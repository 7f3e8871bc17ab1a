"""Whose Python files may be pulled and run: nobody's but of what the operator names in models.remote_code.

Nothing here runs or imports them; the engine's worker does (models/repository_code.py).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos_server.errors import InvalidRequest, PullError, SettingsError, UnsupportedModel
from llmos_server.registry.names import FileReference, HubReference, ModelName, parse_name

SETTING = "models.remote_code"
MODULE_FILE = re.compile(r"[A-Za-z_]\w*\.py", re.ASCII)
CLASS = re.compile(r"([A-Za-z_]\w*)\.([A-Za-z_]\w*)", re.ASCII)
USED = ("AutoConfig", "AutoModelForCausalLM")
"""Entries of auto_map that serving looks at; tokenizers run no code of a repository."""
MAX_CODE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class CodeRule:
    """What holds for one model."""

    name: str = ""
    """What the operator would best write; "" where no name helps."""
    is_named: bool = False

    def lets_run(self, config: Mapping[str, Any]) -> bool:
        """Whether the model is computed by code of its own."""
        return self.is_named and has_own_code(config)

    def advice(self, config: Mapping[str, Any]) -> str:
        """For the refusal of a model that only code of its own could compute."""
        if not has_own_code(config):
            return ""
        if not self.name:
            return " Its code is beside it (auto_map); code from a wheel is never run."
        return (
            f" Its code is in the repository (auto_map), and runs only if the operator names it: "
            f'{SETTING} = ["{self.name}"]. It could then do all that the server\'s user can: read it first, and pull a '
            "pinned revision."
        )


NO_CODE = CodeRule()


class RemoteCode:
    """names: the setting. Exact: a repository, a repository at one revision, or a folder. Raises SettingsError."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(_canonical(name) for name in names)

    def rule(self, source: str) -> CodeRule:
        """source: the full reference that a model is, or was, pulled from."""
        reference = parse_name(source)
        names = _names_of(reference)
        return CodeRule(names[-1], not self._names.isdisjoint(names)) if names else NO_CODE


def has_own_code(config: Mapping[str, Any]) -> bool:
    auto_map = config.get("auto_map")
    return isinstance(auto_map, Mapping) and "AutoModelForCausalLM" in auto_map


def copy_code(source: Path, target: Path, config: Mapping[str, Any]) -> None:
    """The Python files beside the config. Raises UnsupportedModel for classes that aren't in them, PullError."""
    for key, value in config["auto_map"].items():
        if any(isinstance(part, str) and "--" in part for part in (value if isinstance(value, list) else [value])):
            raise UnsupportedModel(
                f"config.json: auto_map's {key} is {value!r:.200}, code of another repository, which is never fetched "
                "or run."
            )
        if key in USED:
            _check_class(source, key, value)
    for name in code_files(path.name for path in source.iterdir() if path.is_file()):
        if (source / name).stat().st_size > MAX_CODE_BYTES:
            raise PullError(f"{source / name}: too large for a Python file of a model.")
        shutil.copyfile(source / name, target / name)


def code_files(names: Iterable[str]) -> list[str]:
    """Those at the top that Python could import, sorted."""
    return sorted(name for name in names if MODULE_FILE.fullmatch(name))


def _check_class(source: Path, key: str, value: Any) -> None:
    found = CLASS.fullmatch(value) if isinstance(value, str) else None
    if found is None or not (source / f"{found[1]}.py").is_file():
        raise UnsupportedModel(
            f"config.json: auto_map's {key} is {value!r:.100}, which is no class in a file beside it."
        )


def _names_of(reference: ModelName) -> list[str]:
    """As the operator may write it, the shortest first."""
    if isinstance(reference, FileReference):
        return [str(reference.path)]
    if isinstance(reference, HubReference) and reference.file is None:
        pinned = [f"hf:{reference.repo}@{reference.revision}"] if reference.revision else []
        return [f"hf:{reference.repo}", *pinned]
    return []


def _canonical(name: str) -> str:
    text = f"file:{name}" if name.startswith((os.sep, "~")) else name
    try:
        reference = parse_name(text)
    except InvalidRequest as error:
        raise SettingsError(f"{SETTING}: {error}") from None
    names = _names_of(reference)
    if not names or getattr(reference, "adapter", None):
        raise SettingsError(f"{SETTING}: {name!r} is neither hf:owner/name[@revision] nor a folder's path.")
    return names[-1]
