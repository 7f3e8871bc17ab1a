"""The settings that hold, for people: each with its value, its source and what it means; secrets are hidden."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from llmos_server.settings import SECTIONS, Settings
from llmos_server.settings_sources import Origin, SourceKind

HIDDEN = "***"
SECRET_TABLES = ("env", "headers", "args")
"""Of an MCP server: all values in them may be secret."""
SECRET_NAME = re.compile(
    r"secret|token|passw|passphrase|credential|authori[sz]ation|cookie|(^|[_-])(pw|pwd|auth|key|apikey)($|[_-])|api_?key",
    re.IGNORECASE,
)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(.*)", re.DOTALL)
_OUR_KEY = re.compile(r"(sk-llmos-[a-z0-9]{8}-|llmos-admin-)[A-Za-z0-9_-]+")

NAMED_SECRETS = ("plugins", "mcp")
"""Sections where a name tells what is secret. Elsewhere names are those of models, or this program's own."""
DEFAULT = Origin("default")


class SettingRow(msgspec.Struct, frozen=True, kw_only=True):
    section: str
    """"" for LLMOS_HOME, which isn't in config.toml."""
    key: str
    """A plugin's own setting is NAME.KEY in the section plugins."""
    value: Any
    """As JSON has it; what is secret in it is "***"."""
    source: SourceKind
    origin: str
    """The file's path, the variable's name or the flag; "" for a default."""
    doc: str


def list_settings(settings: Settings) -> list[SettingRow]:
    """In the order of docs/configuration.md."""
    home = settings.origins.get(("", "home"), DEFAULT)
    first = _row("", "home", str(settings.home), home, "Where models and state are kept.")
    return [first, *(row for section in SECTIONS for row in _of_section(settings, section))]


def _of_section(settings: Settings, section: str) -> Iterator[SettingRow]:
    table = getattr(settings, section)
    docs = docs_of(type(table))
    for field in dataclasses.fields(table):
        origin = settings.origins.get((section, field.name), DEFAULT)
        value = msgspec.to_builtins(getattr(table, field.name))
        yield _row(section, field.name, {} if _is_plugins_own(section, field.name) else value, origin, docs[field.name])
        if _is_plugins_own(section, field.name):
            yield from _of_plugins(settings, value, origin)


def _is_plugins_own(section: str, key: str) -> bool:
    return (section, key) == ("plugins", "options")


def _of_plugins(settings: Settings, options: Mapping[str, Mapping[str, Any]], whole: Origin) -> Iterator[SettingRow]:
    for plugin, table in options.items():
        for own, value in table.items():
            key = f"{plugin}.{own}"
            yield _row("plugins", key, value, settings.origins.get(("plugins", key), whole), "The plugin's own.")


def _row(section: str, key: str, value: Any, origin: Origin, doc: str) -> SettingRow:
    shown = hide(value, name=key if section in NAMED_SECRETS else None)
    return SettingRow(section=section, key=key, value=shown, source=origin.source, origin=origin.name, doc=doc)


def hide(value: Any, name: str | None = "") -> Any:
    """The same without its secrets: texts below a name that says so, passwords and queries in URLs, keys of ours. name:
    None where names tell nothing."""
    if isinstance(value, Mapping):
        if name in SECRET_TABLES:
            return dict.fromkeys(value, HIDDEN)
        return {key: hide(inner, None if name is None else key) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [HIDDEN if name in SECRET_TABLES else hide(inner, name) for inner in value]
    if not isinstance(value, str) or not value:
        return value
    if name is not None and SECRET_NAME.search(name.rpartition(".")[2]):
        return HIDDEN
    return _URL.sub(lambda found: found[1] + _hide_in_url(found[2]), _OUR_KEY.sub(rf"\1{HIDDEN}", value))


def _hide_in_url(rest: str) -> str:
    """rest: behind ://. A password may hold any character, so it reaches to the last @."""
    user, at, place = rest.rpartition("@")
    if at:
        name, colon, _ = user.partition(":")
        user = f"{name}:{HIDDEN}" if colon else HIDDEN
    place, mark, query = place.partition("?")
    return f"{user}{at}{place}{mark}{'&'.join(map(_hide_in_pair, query.split('&')))}"


def _hide_in_pair(pair: str) -> str:
    name, sign, _ = pair.partition("=")
    return f"{name}={HIDDEN}" if sign else HIDDEN if name else ""


def docs_of(cls: type[Any]) -> dict[str, str]:
    """What the source says below each field of a section's dataclass; "" where it says nothing."""
    found = {field.name: "" for field in dataclasses.fields(cls)}
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except OSError:  # Installed without its sources.
        return found
    assert isinstance(body, ast.ClassDef)
    for line, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(below, ast.Expr):
            found[line.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return found
