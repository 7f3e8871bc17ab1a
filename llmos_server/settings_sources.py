"""Where settings come from: files, the environment, flags; merged key by key, and made what their types ask for."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from llmos_server.errors import SettingsError

ENV_PREFIX = "LLMOS_"
RESERVED_ENV = frozenset({"LLMOS_HOME", "LLMOS_CONFIG", "LLMOS_URL", "LLMOS_API_KEY"})

SECRET = (".env", ".headers")
"""Settings whose values no message shows."""

SourceKind = Literal["default", "file", "environment", "flag"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from."""

    source: SourceKind
    name: str = ""
    """The file's path, the variable's name, or the flag."""


class Sources:
    """The values of all sources so far, the stronger ones added later; and where each comes from."""

    def __init__(self, sections: Mapping[str, type[Any]]) -> None:
        """sections: the dataclass of each section."""
        self._sections = sections
        self.values: dict[str, dict[str, Any]] = {name: {} for name in sections}
        self.origins: dict[tuple[str, str], Origin] = {}
        """By section and key; a plugin's setting has the key NAME.KEY. What has a default's value isn't in it."""

    def add_file(self, path: Path) -> None:
        """Raises SettingsError."""
        origin = Origin("file", str(path.absolute()))
        for section, keys in _read_toml(path).items():
            self._add_section(section, keys, origin, where=str(path))

    def add_environment(self, env: Mapping[str, str]) -> None:
        """Raises SettingsError."""
        for name, text in env.items():
            if not name.startswith(ENV_PREFIX) or "__" not in name or name in RESERVED_ENV:
                continue
            section, _, key = name[len(ENV_PREFIX) :].lower().partition("__")
            self._add_section(section, {key: text}, Origin("environment", name), where="environment")

    def add_flags(self, flags: Mapping[str, Mapping[str, Any]]) -> None:
        """None values are skipped. Raises SettingsError."""
        for section, keys in flags.items():
            for key, value in keys.items():
                if value is not None:
                    origin = Origin("flag", flag_name(section, key))
                    self._add_section(section, {key: value}, origin, where="command line")

    def _add_section(self, section: str, keys: Any, origin: Origin, where: str) -> None:
        if section not in self._sections:
            raise SettingsError(f"{where}: unknown section {section!r}.{_nearest(section, self._sections)}")
        if not isinstance(keys, Mapping):
            raise SettingsError(f"{where}: {section!r} is a section, write [{section}] and keys below it.")
        known = {f.name for f in dataclasses.fields(self._sections[section])}
        for key, value in keys.items():
            if section == "plugins" and self._add_plugin(known, key, value, origin):
                continue
            if key not in known:
                raise SettingsError(f"{where}: unknown key {section}.{key}.{_nearest(key, known)}")
            self.values[section][key] = value
            self._note_origin(section, key, origin)

    def _note_origin(self, section: str, key: str, origin: Origin) -> None:
        if (section, key) == ("plugins", "options"):  # All tables of plugins anew.
            for place in [place for place in self.origins if place[0] == section and "." in place[1]]:
                del self.origins[place]
        self.origins[section, key] = origin

    def _add_plugin(self, known: set[str], key: str, value: Any, origin: Origin) -> bool:
        """A table [plugins.NAME], or LLMOS_PLUGINS__NAME__KEY, into options; whether it was one."""
        name, _, inner = key.partition("__")
        if name in known or not (inner or isinstance(value, Mapping)):
            return False
        table = {inner: value} if inner else dict(value)
        options = self.values["plugins"].setdefault("options", {})
        options[name] = {**options.get(name, {}), **table}
        self.origins.update({("plugins", f"{name}.{own}"): origin for own in table})
        return True


def flag_name(section: str, key: str) -> str:
    """Of `llmos serve`."""
    named = {("models", "default"): "model", ("log", "level"): "log-level"}
    return "--" + named.get((section, key), key.replace("_", "-"))


def build(cls: type[Any], values: Mapping[str, Any], section: str) -> Any:
    """A section's dataclass. Raises SettingsError."""
    hints = typing.get_type_hints(cls, include_extras=True)
    converted = {key: _convert(value, hints[key], f"{section}.{key}") for key, value in values.items()}
    return cls(**converted)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: can't be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}.") from None


def _nearest(word: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.0)
    return f" Did you mean {close[0]!r}?" if close else ""


def _build_table(cls: Any, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise SettingsError(f"{where} is a table, write [{where}] and keys below it.")
    known = {f.name for f in dataclasses.fields(cls)}
    for key in values:
        if key not in known:
            raise SettingsError(f"Unknown key {where}.{key}.{_nearest(key, known)}")
    return build(cls, values, where)


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Strings (from the environment) are read as the type asks: JSON for tables and lists, or commas for lists."""
    kind = typing.get_origin(hint)
    if isinstance(value, str) and kind in (tuple, dict):
        if kind is tuple and not value.startswith("["):
            value = [part.strip() for part in value.split(",") if part.strip()]
        else:
            try:
                value = msgspec.json.decode(value)
            except msgspec.DecodeError:
                shown = "this" if where.endswith((*SECRET, ".servers")) else repr(value)
                raise SettingsError(f"{where}: {shown} is not JSON.") from None
    if kind is dict and isinstance(value, Mapping) and dataclasses.is_dataclass(table := typing.get_args(hint)[1]):
        return {name: _build_table(table, keys, f'{where}."{name}"') for name, keys in value.items()}
    try:
        return msgspec.convert(value, hint, strict=not isinstance(value, str))
    except msgspec.ValidationError as error:
        shown = "(not shown)" if where.endswith(SECRET) else repr(value)
        raise SettingsError(f"{where} = {shown}: {error}.") from None
