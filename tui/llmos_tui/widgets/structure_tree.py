"""Modules and tensors as a tree with columns; a branch is filled when it is opened."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import set_cell_size
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from llmos_tui import words
from llmos_tui.widgets.usage_bar import bar
from llmos_tui.wire.inside import Module, Structure, Tensor

Part = Module | Tensor
MOVES = Binding.Group("Move", compact=True)
FIGURES = (("SHAPE", 15), ("TYPE", 7), ("PARAMS", 7), ("BYTES", 8), ("SHARE", 7))
"""Titles and cells of the columns behind the name; a bar follows them where there is room."""
BAR_CELLS = 20
WIDE = 110


class StructureTree(Tree[Part]):
    """What has children is opened and closed; a module of one tensor is one line with it. The share is that of the
    model's bytes."""

    DEFAULT_CSS = """
    StructureTree { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; background: $background; }
    StructureTree > .tree--guides { color: $text-muted; }
    """
    BINDING_GROUP_TITLE = "Tree"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "cursor_up", "Up", tooltip="One line up", id="tree.up", group=MOVES),
        Binding("down,j", "cursor_down", "Down", tooltip="One line down", id="tree.down", group=MOVES),
        Binding("enter,space", "toggle_node", "Open/close", tooltip="What is below this module", id="tree.toggle"),
        Binding("right", "open", "Open", tooltip="What is below this module", id="tree.open"),
        Binding("left", "close_or_leave", "Close", tooltip="Close it; then to the one above", id="tree.close"),
    ]

    def __init__(self) -> None:
        super().__init__("", id="structure-tree")
        self.guide_depth = 2
        self.show_root = True
        self.auto_expand = False
        self._total = 1

    def show(self, structure: Structure) -> None:
        """The root is open, and what is alone in its branch."""
        self._total = structure.bytes or 1
        self.reset(Text(structure.model), structure.root)
        node = self.root
        while True:
            node.expand()
            self._fill(node)
            if len(node.children) != 1 or not node.children[0].allow_expand:
                break
            node = node.children[0]
        self.cursor_line = 0

    def on_tree_node_expanded(self, event: Tree.NodeExpanded[Part]) -> None:
        self._fill(event.node)

    def _fill(self, node: TreeNode[Part]) -> None:
        if isinstance(node.data, Module) and not node.children:
            for tensor in node.data.tensors:
                node.add_leaf(Text(tensor.name), tensor)
            for module in node.data.children:
                if len(module.tensors) == 1 and not module.children:
                    node.add_leaf(Text(f"{module.name}.{module.tensors[0].name}"), module.tensors[0])
                else:
                    node.add(Text(module.name), module)

    # Keys

    def action_open(self) -> None:
        if self.cursor_node is not None and self.cursor_node.allow_expand:
            self.cursor_node.expand()

    def action_close_or_leave(self) -> None:
        node = self.cursor_node
        if node is None:
            return
        if node.is_expanded and node.allow_expand:
            node.collapse()
        elif node.parent is not None:
            self.move_cursor(node.parent)

    # Drawing

    def on_resize(self, event: events.Resize) -> None:
        self._invalidate()

    def head(self) -> str:
        """The columns' titles, over the lines."""
        figures = [
            title.rjust(cells) if number > 1 else title.ljust(cells) for number, (title, cells) in enumerate(FIGURES)
        ]
        return "MODULE OR TENSOR".ljust(self._name_cells(0) + 2) + " " + " ".join(figures)

    def _name_cells(self, level: int) -> int:
        """Room for a name below so many others."""
        figures = sum(cells + 1 for _, cells in FIGURES) + (BAR_CELLS + 1 if self.size.width >= WIDE else 0)
        return max(8, self.size.width - figures - self.guide_depth * level - 3)

    def render_label(self, node: TreeNode[Part], base_style: Style, style: Style) -> Text:
        level, above = 0, node.parent
        while above is not None:
            level, above = level + 1, above.parent
        sign = ("▾ " if node.is_expanded else "▸ ") if node.allow_expand else "  "
        name = words.one_line(str(node.label))
        cells = self._name_cells(level)
        shown = set_cell_size(name if len(name) <= cells else name[: cells - 1] + "…", cells)
        return Text(f"{sign}{shown} {self._figures(node.data)}", style=style, no_wrap=True, end="")

    def _figures(self, part: Part | None) -> str:
        if part is None:
            return ""
        share = part.bytes / self._total
        texts = [
            shape(part.shape) if isinstance(part, Tensor) else "",
            part.dtype if isinstance(part, Tensor) else "",
            words.count(part.parameters),
            words.size(part.bytes),
            f"{100 * share:.1f} %",
        ]
        cells = [
            _cell(text, cells, is_right=number > 1)
            for number, (text, (_, cells)) in enumerate(zip(texts, FIGURES, strict=True))
        ]
        return " ".join([*cells, *([bar(share, BAR_CELLS)] if self.size.width >= WIDE else [])])


def shape(sizes: list[int]) -> str:
    """49152 x 576."""
    return " x ".join(map(str, sizes))


def _cell(text: str, cells: int, *, is_right: bool) -> str:
    text = words.one_line(text)
    text = text if len(text) <= cells else text[: cells - 1] + "…"
    return text.rjust(cells) if is_right else text.ljust(cells)
