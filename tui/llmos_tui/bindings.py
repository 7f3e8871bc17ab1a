"""All keys of the program, from the BINDINGS of its classes: for `?`, the palette, docs/tui.md and tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from textual.actions import parse
from textual.binding import Binding
from textual.dom import DOMNode


@dataclass(frozen=True)
class Key:
    """One action. keys: as written in the binding, "1,alt+1"."""

    keys: str
    action: str
    description: str
    tooltip: str
    id: str
    is_shown: bool

    @property
    def shown(self) -> str:
        """For people."""
        return " or ".join(_in_words(key) for key in self.keys.split(",") if key)


NAMES = {
    "question_mark": "?",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "slash": "/",
    "space": "space",
    "comma": ",",
    "full_stop": ".",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "plus": "+",
    "minus": "-",
    "escape": "esc",
}


def _in_words(key: str) -> str:
    *modifiers, last = key.strip().split("+")
    return "+".join([*modifiers, NAMES.get(last, last)])


def can_now(node: DOMNode) -> list[bool | None]:
    """What its check_action says of each of its keys: the footer changes only where this does."""
    found = []
    for binding in node.BINDINGS:
        assert isinstance(binding, Binding), "a tuple has no id and no tooltip"
        _, name, parameters = parse(binding.action)
        found.append(node.check_action(name, parameters))
    return found


def keys_of_class(kind: type[DOMNode], ours: str = "llmos_tui") -> list[Key]:
    """Of a class and those of our own that it derives from, nearest first; a library's have their own help."""
    keys = []
    for base in kind.__mro__:
        if base.__module__.startswith(ours) and "BINDINGS" in base.__dict__:
            keys += [_key(binding) for binding in base.__dict__["BINDINGS"]]
    return keys


def _key(binding: object) -> Key:
    assert isinstance(binding, Binding), "a tuple has no id and no tooltip"
    return Key(
        keys=binding.key,
        action=binding.action,
        description=binding.description,
        tooltip=binding.tooltip,
        id=binding.id or "",
        is_shown=binding.show,
    )


def keys_on(nodes: Iterable[DOMNode]) -> Iterator[tuple[str, list[Key]]]:
    """(title, keys) of each kind of node that has keys of ours, each kind once; `own_keys` are those of one node."""
    seen = set()
    for node in nodes:
        if type(node) in seen:
            continue
        seen.add(type(node))
        if keys := [*getattr(node, "own_keys", ()), *keys_of_class(type(node))]:
            yield node.BINDING_GROUP_TITLE or type(node).__name__, keys
