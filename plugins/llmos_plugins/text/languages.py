"""Languages by tag ("pt-BR"), English name ("Portuguese") or own name ("português")."""

from __future__ import annotations

import difflib
import functools
import re
from pathlib import Path
from typing import NamedTuple

import msgspec

TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")


class Language(NamedTuple):
    tag: str
    """As BCP 47 writes it: "de", "pt-BR", "zh-Hant"."""
    name: str
    """In English, as a model is told: "Portuguese (Brazil)"."""

    @property
    def base(self) -> str:
        return self.tag.partition("-")[0]


class _Table(msgspec.Struct):
    languages: dict[str, list[str]]
    subtags: dict[str, str]


@functools.cache
def _table() -> _Table:
    return msgspec.json.decode(Path(__file__).with_name("languages.json").read_bytes(), type=_Table)


@functools.cache
def _names() -> dict[str, str]:
    """Any name, folded -> tag."""
    return {name.casefold(): tag for tag, names in _table().languages.items() for name in names}


def known_tags() -> list[str]:
    return list(_table().languages)


def find_language(text: str) -> Language:
    """Raises ValueError that names the nearest ones."""
    wanted = text.strip()
    tag = _names().get(wanted.casefold())
    if tag is None and TAG.fullmatch(wanted):
        tag = _to_tag(wanted)
    base, *subtags = (tag or "").split("-")
    if tag is None or base not in _table().languages:
        near = difflib.get_close_matches(wanted.casefold(), [*_names(), *_table().languages], n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f'no language is called {wanted[:40]!r} here; write a tag ("de", "pt-BR") or a name.{hint}')
    name = _table().languages[base][0]
    told = ", ".join(_table().subtags.get(subtag, subtag) for subtag in subtags)
    return Language(tag, f"{name} ({told})" if told else name)


def _to_tag(text: str) -> str:
    """Scripts of four letters are written Like This, regions in capitals."""
    base, *subtags = re.split("[-_]", text)
    written = [subtag.title() if len(subtag) == 4 and subtag.isalpha() else subtag.upper() for subtag in subtags]
    return "-".join([base.lower(), *written])
