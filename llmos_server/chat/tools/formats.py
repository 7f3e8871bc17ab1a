"""The formats of tool calls that are known, and which one a chat template is made for."""

from __future__ import annotations

from typing import NamedTuple

from llmos_server.chat.tools.format import ToolFormat
from llmos_server.chat.tools.granite import GRANITE
from llmos_server.chat.tools.hermes import HERMES
from llmos_server.chat.tools.llama3 import LLAMA3
from llmos_server.chat.tools.mistral import MISTRAL
from llmos_server.chat.tools.mistral_args import MISTRAL_ARGS

FORMATS = {form.name: form for form in (HERMES, GRANITE, MISTRAL, MISTRAL_ARGS, LLAMA3)}
"""In the order in which they are looked for."""


class Style(NamedTuple):
    """How a model is told of tools."""

    format: ToolFormat
    is_native: bool
    """The template writes tools, calls and results itself; else chat.tools.plain does, as text."""


PLAIN = Style(HERMES, False)


def choose_style(template: str, variables: frozenset[str], name: str = "auto") -> Style:
    """template: its source; variables: what it reads. name: of a format, "json" for the plain style, or "auto"."""
    if "tools" not in variables or name == "json":
        return PLAIN
    if name != "auto":
        return Style(FORMATS[name], True)
    return next((Style(form, True) for form in FORMATS.values() if form.is_told_by(template)), PLAIN)
