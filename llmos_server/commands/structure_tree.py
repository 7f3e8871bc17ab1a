"""A model's structure on a terminal: layers that are alike are shown once."""

from __future__ import annotations

from itertools import groupby

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmos_server.registry.progress import format_bytes
from llmos_server.registry.structure import Module, Structure, Tensor

INDENT = "  "
MAX_WIDTH = 1000


def print_structure(structure: Structure) -> None:
    """To stdout, whole even where the terminal is narrow."""
    config = ", ".join(f"{name} {value}" for name, value in structure.config.items())
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("MODULE OR TENSOR", no_wrap=True)
    table.add_column("SHAPE", no_wrap=True)
    table.add_column("TYPE", no_wrap=True)
    for name in ("PARAMETERS", "BYTES", "SHARE"):
        table.add_column(name, justify="right", no_wrap=True)
    _Rows(table, structure.bytes).add(structure.root, structure.model, 1, "")
    print(f"{structure.model}: {structure.architecture}, {config}")
    console = Console(width=MAX_WIDTH)
    console.width = console.measure(table).maximum
    console.print(table)
    print("Of modules that are alike, one is shown; SHARE is that of all of them.")


class _Rows:
    """Fills a table from the top of a tree down. num_bytes: of the whole model."""

    def __init__(self, table: Table, num_bytes: int) -> None:
        self._table = table
        self._num_bytes = num_bytes

    def add(self, module: Module, label: str, times: int, indent: str) -> None:
        """times: how many are like this one; the figures are of one."""
        if len(module.tensors) == 1 and not module.children:
            self._row(indent, f"{label}.{module.tensors[0].name}", module.tensors[0], times=times)
            return
        self._row(indent, label, module, times=times)
        for tensor in module.tensors:
            self._row(indent + INDENT, tensor.name, tensor, times=times)
        for _, group in groupby(module.children, key=_likeness):
            alike = list(group)
            first, last = alike[0].name, alike[-1].name
            label = first if len(alike) == 1 else f"{first} ... {last} ({len(alike)} alike)"
            self.add(alike[0], label, times * len(alike), indent + INDENT)

    def _row(self, indent: str, label: str, part: Module | Tensor, *, times: int) -> None:
        share = part.bytes * times / self._num_bytes if self._num_bytes else 0.0
        shape, dtype = (str(part.shape), part.dtype) if isinstance(part, Tensor) else ("", "")
        self._table.add_row(
            Text(indent + label),
            Text(shape),
            Text(dtype),
            f"{part.parameters:,}",
            format_bytes(part.bytes),
            f"{share:.1%}",
            style=None if shape else "bold",
        )


def _likeness(module: Module) -> bytes:
    """Equal for numbered modules that differ in nothing but their numbers; others are like none."""
    name = "" if module.name.isdigit() else module.name
    return msgspec.json.encode(msgspec.structs.replace(module, name=name))
