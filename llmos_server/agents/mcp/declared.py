"""What the operator has declared about one MCP server, checked, and with its secrets filled in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import urlsplit

from llmos_server.errors import SettingsError
from llmos_server.mcp_settings import McpServerSettings, McpSettings

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_VARIABLE_NAME = re.compile(r"[^=\0]+")
_NO_NUL = re.compile(r"[^\0]*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t -~]*")
MIN_SECRET = 4
"""Characters; hiding shorter values would make holes in every text."""
MIN_MESSAGE_BYTES = 4 * 2**20
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME")
"""What a server that is started gets of this server's environment. Keys and tokens are in other variables."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    name: str
    settings: McpServerSettings
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The whole environment of a server that is started."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)
    """Values that are shown to nobody."""

    @property
    def transport(self) -> Literal["stdio", "http"]:
        return "http" if self.settings.url else "stdio"

    @property
    def place(self) -> str:
        """For people: the program's name or the URL, without what may be secret in arguments, user and query."""
        if self.settings.command:
            return self.settings.command
        parts = urlsplit(self.settings.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def max_message_bytes(self) -> int:
        """Of the longest message that is read: it may hold an image, and JSON writes some characters as six."""
        return max(MIN_MESSAGE_BYTES, 8 * self.settings.max_output_bytes)

    def is_offered(self, tool: str) -> bool:
        return _matches(tool, self.settings.tools)

    def needs_approval(self, tool: str) -> bool:
        approval = self.settings.approval
        return approval == "always" or (isinstance(approval, tuple) and _matches(tool, approval))

    def without_secrets(self, text: str) -> str:
        for value in self.hidden:
            text = text.replace(value, "***")
        return text


def declare_all(settings: McpSettings, env: Mapping[str, str]) -> list[Declared]:
    """env: this server's environment. Raises SettingsError that names the key and what to do."""
    return [declare(name, server, env) for name, server in settings.servers.items()]


def declare(name: str, settings: McpServerSettings, env: Mapping[str, str]) -> Declared:
    where = f'mcp.servers."{name}"'
    if not NAME.fullmatch(name):
        raise SettingsError(f"{where}: a name is 1 to 32 letters, digits, _ and -; its tools are named by it.")
    if bool(settings.command) == bool(settings.url):
        raise SettingsError(f"{where}: set either command (a program to start) or url (a server that runs).")
    if settings.command and settings.headers:
        raise SettingsError(f"{where}.headers: a program that is started gets no headers; use env.")
    if settings.url:
        _check_url(settings, where)
    _check_text((settings.command, *settings.args, settings.cwd), f"{where}.args", _NO_NUL)
    own = _fill_all(settings.env, env, f"{where}.env", _VARIABLE_NAME, _NO_NUL)
    headers = _fill_all(settings.headers, env, f"{where}.headers", _HEADER_NAME, _HEADER_VALUE)
    inherited = {key: env[key] for key in INHERITED if key in env}
    hidden = _find_secrets(settings, own, headers, env)
    return Declared(name=name, settings=settings, env={**inherited, **own}, headers=headers, hidden=hidden)


def _find_secrets(
    settings: McpServerSettings, own: Mapping[str, str], headers: Mapping[str, str], env: Mapping[str, str]
) -> tuple[str, ...]:
    """The longest first, so that none is hidden in part."""
    parts = urlsplit(settings.url)
    written = "".join((*settings.env.values(), *settings.headers.values()))
    found = {
        *own.values(),
        *headers.values(),
        *(value.partition(" ")[2] for value in headers.values()),
        *(env[variable] for variable in _VARIABLE.findall(written)),
        parts.password or "",
        parts.query,
    }
    return tuple(sorted((value for value in found if len(value) >= MIN_SECRET), key=len, reverse=True))


def _check_url(settings: McpServerSettings, where: str) -> None:
    if settings.args or settings.env or settings.cwd:
        raise SettingsError(f"{where}: args, env and cwd are for a program that is started (command), not for a url.")
    try:
        parts = urlsplit(settings.url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise SettingsError(f"{where}.url: it looks like https://mcp.example.org/mcp, with http or https.")


def _fill_all(
    given: Mapping[str, str], env: Mapping[str, str], where: str, name: re.Pattern[str], value: re.Pattern[str]
) -> dict[str, str]:
    _check_text(given, where, name)
    filled = {key: _fill(text, env, f"{where}.{key}") for key, text in given.items()}
    for key, text in filled.items():
        _check_text((text,), f"{where}.{key}", value)
    return filled


def _check_text(texts: Iterable[str], where: str, pattern: re.Pattern[str]) -> None:
    """The text itself may be a secret."""
    if not all(pattern.fullmatch(text) for text in texts):
        raise SettingsError(f"{where}: there is a character that can't be in it, a line break perhaps.")


def _fill(value: str, env: Mapping[str, str], where: str) -> str:
    for variable in _VARIABLE.findall(value):
        if variable not in env:
            raise SettingsError(f"{where}: the environment variable {variable} isn't set.")
    return _VARIABLE.sub(lambda found: env[found[1]], value)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
