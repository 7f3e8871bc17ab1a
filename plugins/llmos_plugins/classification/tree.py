"""Labels as a tree: nested ones, and paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from llmos_plugins.classification.fields import MAX_DEPTH, MAX_LABELS, Label
from llmos_server import InputError


@dataclass(slots=True)
class Node:
    """The root has no name."""

    name: str = ""
    path: str = ""
    description: str = ""
    children: dict[str, Node] = field(default_factory=dict)
    is_given: bool = False
    """As a label of its own, not only as a part of another's path."""

    def walk(self) -> Iterator[Node]:
        """All below, parents first."""
        for child in self.children.values():
            yield child
            yield from child.walk()


def build_tree(labels: Sequence[str | Label], separator: str) -> Node:
    """Raises InputError that names the label."""
    root = Node()
    _add(root, labels, separator, "labels", 1)
    nodes = list(root.walk())
    if len(nodes) > MAX_LABELS:
        raise InputError(
            f"{len(nodes)} labels with those below them; at most {MAX_LABELS} can be told apart", field="labels"
        )
    if sum(not node.children for node in nodes) < 2:
        raise InputError("one label leaves nothing to choose; give at least two", field="labels")
    return root


def _add(parent: Node, labels: Sequence[str | Label], separator: str, where: str, depth: int) -> None:
    for place, label in enumerate(labels):
        name = label if isinstance(label, str) else label.name
        here = f"{where}[{place}]"
        parts = [part.strip() for part in (name.split(separator) if separator else [name])]
        if not all(parts):
            raise InputError(f"{name!r} has a part without a name", field=here)
        if depth + len(parts) - 1 > MAX_DEPTH:
            raise InputError(f"labels lie at most {MAX_DEPTH} deep", field=here)
        node = parent
        for part in parts:
            path = f"{node.path}{separator or '/'}{part}" if node.path else part
            node = node.children.setdefault(part, Node(name=part, path=path))
        if node.is_given:
            raise InputError(f"{node.path!r} is there twice", field=here)
        node.is_given = True
        if isinstance(label, Label):
            node.description = label.description.strip()
            _add(node, label.labels, separator, f"{here}.labels", depth + len(parts))
