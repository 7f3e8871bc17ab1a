"""All keys of the terminal interface, found in its classes."""

from __future__ import annotations

from llmos_tui.app import LLMOSApp
from llmos_tui.bindings import Key, keys_of_class
from llmos_tui.screens.catalogue import PLACES
from textual.dom import DOMNode


def classes_with_keys() -> list[type[DOMNode]]:
    """All of ours, found through their bases; the catalogue has imported every screen."""
    found: list[type[DOMNode]] = []
    todo: list[type[DOMNode]] = [DOMNode]
    while todo:
        for kind in todo.pop().__subclasses__():
            todo.append(kind)
            if kind.__module__.startswith("llmos_tui") and "BINDINGS" in kind.__dict__ and kind not in found:
                found.append(kind)
    return found


def own_keys(kind: type[DOMNode]) -> list[Key]:
    """Of a class, without those that it derives."""
    return keys_of_class(kind)[: len(kind.__dict__["BINDINGS"])]


def keys_page() -> str:
    """The tables of docs/tui.md: what holds everywhere, the screens in their order, then lists and dialogs by name."""
    order = {place.title: number for number, place in enumerate(PLACES)}
    titled = [(kind.BINDING_GROUP_TITLE or kind.__name__, kind) for kind in classes_with_keys() if kind is not LLMOSApp]
    titled.sort(key=lambda pair: (order.get(pair[0], len(order)), pair[0]))
    tables = [_table("Everywhere", own_keys(LLMOSApp)), *(_table(title, own_keys(kind)) for title, kind in titled)]
    return "\n".join(tables)


def _table(title: str, keys: list[Key]) -> str:
    rows = [f"| `{key.shown.replace('|', chr(92) + '|')}` | {key.description} | {key.tooltip} |" for key in keys]
    return "\n".join([f"**{title}**", "", "| key | | what it does |", "| --- | --- | --- |", *rows, ""])
