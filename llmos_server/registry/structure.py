"""What a model is built of: its modules and tensors as a tree, from the heads of its weight files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct

from llmos_server.contracts import ModelVersion
from llmos_server.registry.shape import architecture, read_config, shape_of
from llmos_server.registry.tensors import StoredTensor, read_tensors

MAX_DEPTH = 32
"""Names come from files that nobody checked: what lies deeper stays one name."""


class Tensor(Struct, frozen=True, kw_only=True):
    name: str
    """Below its module: "weight"."""
    shape: list[int]
    """As it is stored."""
    dtype: str
    """As the file names it: "Q4_1", "F32", "BF16"."""
    parameters: int
    bytes: int
    """In the file."""


class Module(Struct, frozen=True, kw_only=True):
    name: str
    """Below its parent: "self_attn"; "" is the model's root."""
    parameters: int
    bytes: int
    """Of all that is below it, as parameters."""
    children: list[Module]
    tensors: list[Tensor]
    """Its own."""


class Structure(Struct, frozen=True, kw_only=True):
    model: str
    architecture: str
    """model_type of its config.json."""
    parameters: int
    bytes: int
    """Of all tensors; what else the files hold (names, a tokenizer, padding) isn't counted."""
    config: dict[str, Any]
    """What of num_layers, hidden_size, num_heads and the like is known; see registry.shape."""
    root: Module


def read_structure(version: ModelVersion) -> Structure:
    """Reads heads of files only. Raises PullError for a damaged one."""
    root = build_tree(read_tensors([Path(path) for path in version.weights]))
    config = read_config(version.folder)
    return Structure(
        model=version.name,
        architecture=architecture(config),
        parameters=root.parameters,
        bytes=root.bytes,
        config=shape_of(config) | {"context_length": version.context_length},
        root=root,
    )


def build_tree(tensors: Iterable[StoredTensor]) -> Module:
    """Modules and tensors in the order in which they are met; numbered modules in the order of their numbers."""
    root = _Growing()
    for tensor in tensors:
        *modules, name = tensor.name.split(".", MAX_DEPTH)
        place = root
        for module in modules:
            place = place.children.setdefault(module, _Growing())
        place.tensors.append(
            Tensor(
                name=name,
                shape=list(tensor.shape),
                dtype=tensor.type_name,
                parameters=tensor.num_elements,
                bytes=tensor.num_bytes,
            )
        )
    return root.finish("")


class _Growing:
    """A module that is still being filled."""

    def __init__(self) -> None:
        self.children: dict[str, _Growing] = {}
        self.tensors: list[Tensor] = []

    def finish(self, name: str) -> Module:
        children = [child.finish(own) for own, child in sorted(self.children.items(), key=_by_number)]
        parts: list[Module | Tensor] = [*children, *self.tensors]
        return Module(
            name=name,
            parameters=sum(part.parameters for part in parts),
            bytes=sum(part.bytes for part in parts),
            children=children,
            tensors=self.tensors,
        )


def _by_number(item: tuple[str, _Growing]) -> int:
    """Sorting is stable: what has no number stays where it was met, before those that have one."""
    name = item[0]
    return int(name) if name.isascii() and name.isdigit() and len(name) < 10 else -1
