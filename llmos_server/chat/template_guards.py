"""A jinja sandbox whose templates count their work: at each loop's pass, call, filter, test and operator.

The loops and expressions that jinja compiles to plain Python get their counters as filters that are put into the
template's syntax tree; a space in their names keeps templates from meeting them.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from jinja2 import nodes, pass_eval_context
from jinja2.runtime import Context, markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from llmos_server.chat.template_costs import charge, charge_binary, charge_format, check_numbers
from llmos_server.chat.template_work import STEP, current

NODE = 5
"""Units of a body's pass for each node of its syntax tree."""


class CountingEnvironment(ImmutableSandboxedEnvironment):
    """Rendering is possible inside of template_work.counting() only."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, finalize=_print)

    def count_everything(self) -> None:
        """To be called when all filters and tests are there."""
        tables: list[dict[str, Any]] = [self.filters, self.tests]
        for table in tables:
            for name, function in table.items():
                table[name] = _counted(name, function)
        self.filters |= {" step": _step, " walk": _walk, " search": _search, " slice": _slice, " concat": _concat}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Counters().visit(super()._parse(source, name, filename))
        return tree

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        charge_binary(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        work = current()
        work.spend(STEP)
        if isinstance(__obj, types.BuiltinMethodType) and not isinstance(__obj.__self__, type | types.ModuleType):
            charge(__obj.__name__, __obj.__self__, args, kwargs)
        elif isinstance(__obj, type | types.BuiltinMethodType | types.MethodDescriptorType):
            check_numbers([*args, *kwargs.values()])
            work.walk([*args, *kwargs.values()])
        result = super().call(__context, __obj, *args, **kwargs)
        if isinstance(result, list | tuple | str | bytes):
            work.walk(result)
        return result

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def format(*args: Any, **kwargs: Any) -> str:
            charge_format(value.__self__, args, kwargs)
            return wrapped(*args, **kwargs)

        return format


class _Counters(NodeTransformer):
    """Puts the counters into a tree. Each body is as dear as it is long, whichever branches a pass takes."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        step = _step_of(node)
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(step, lineno=node.lineno))
        if node.test is not None:
            node.test = nodes.And(step, node.test, lineno=node.lineno)
        return node

    def visit_Macro(self, node: nodes.Macro | nodes.CallBlock) -> nodes.Node:
        step = _step_of(node)
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(step, lineno=node.lineno))
        return node

    visit_CallBlock = visit_Macro

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filter(node.nodes[0], " concat", node.nodes[1:])

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _filter(node.expr, " walk")
        for operand in node.ops:
            operand.expr = _filter(operand.expr, " search" if operand.op in ("in", "notin") else " walk")
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _filter(node.node, " slice")
        return node

    def visit_List(self, node: nodes.List | nodes.Dict | nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        is_target = isinstance(node, nodes.Tuple) and node.ctx != "load"
        return node if is_target else _filter(node, " walk")

    visit_Dict = visit_List
    visit_Tuple = visit_List


def _filter(node: nodes.Expr, name: str, args: list[nodes.Expr] | None = None) -> nodes.Filter:
    """A constant of the template itself needs no counter that only reads it; jinja finds out."""
    return nodes.Filter(node, name, args or [], [], None, None, lineno=node.lineno)


def _step_of(node: nodes.Node) -> nodes.Filter:
    num_nodes = sum(1 for _ in node.find_all(nodes.Node))
    num_chars = sum(len(text.data) for text in node.find_all(nodes.TemplateData))
    return _filter(nodes.Const(STEP + NODE * num_nodes + num_chars, lineno=node.lineno), " step")


def _counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    first = 0 if getattr(function, "jinja_pass_arg", None) is None else 1

    @functools.wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        work = current()
        work.spend(STEP)
        value: Any = args[first] if len(args) > first else None
        if name in ("join", "sum") and hasattr(value, "__next__"):
            args = (*args[:first], value := list(value), *args[first + 1 :])
        charge(name, value, args[first + 1 :], kwargs)
        result = function(*args, **kwargs)
        if isinstance(result, list | tuple | str):
            work.walk(result)
        return result

    return counted


def _step(units: int) -> bool:
    current().spend(units)
    return True


def _walk(value: Any) -> Any:
    current().walk(value)
    return value


def _search(value: Any) -> Any:
    if not isinstance(value, dict):
        current().spend(4 * current().walk(value)[0])
    return value


def _slice(value: Any) -> Any:
    if hasattr(value, "__len__"):
        current().spend(len(value))
    return value


def _print(value: Any) -> Any:
    """What jinja makes a text of. Constants are made one at compile time."""
    if not isinstance(value, str) or len(value) > STEP:
        current().walk(value)
    return value


@pass_eval_context
def _concat(context: nodes.EvalContext, *values: Any) -> str:
    for value in values:
        current().walk(value)
    return markup_join(values) if context.volatile or context.autoescape else str_join(values)
