"""Text with places to be filled in, as OpenAI's evals have them: {{ item.question }}, {{ sample.output_text }},
{{ item.answers[0] }}, {{ item["a name"] }}.

A path and nothing else: there is no code in them, and what is filled in is never read as a template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from llmos_server.errors import InvalidRequest

NAMESPACES = ("item", "sample")

_PLACE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_STEP = re.compile(r"""\.\s*([^\W\d][\w-]*)|\[\s*(\d+)\s*\]|\[\s*"([^"]*)"\s*\]|\[\s*'([^']*)'\s*\]""")
_ROOT = re.compile(r"\s*([^\W\d]\w*)")


class MissingVariable(InvalidRequest):
    """The template names what the data don't have."""


class Path:
    """item.a.b[0]"""

    def __init__(self, text: str, where: str = "") -> None:
        """where: the field that holds it, for messages. Raises InvalidRequest."""
        self.text = text.strip()
        root = _ROOT.match(text)
        if root is None or root[1] not in NAMESPACES:
            raise InvalidRequest(
                f"{where or 'template'}: {{{{{text[:80]}}}}} has to begin with item or sample, such as item.question.",
                param=where or None,
                code="invalid_template",
            )
        self.root = root[1]
        self.steps: list[str | int] = []
        place = root.end()
        rest = text.rstrip()
        while place < len(rest):
            step = _STEP.match(rest, place)
            if step is None:
                raise InvalidRequest(
                    f"{where or 'template'}: {{{{{text[:80]}}}}} is no path. Write item.name, item.list[0] or "
                    'item["any name"]; filters and code aren\'t run.',
                    param=where or None,
                    code="invalid_template",
                )
            name, number, *quoted = step.groups()
            self.steps.append(int(number) if number else next(part for part in (name, *quoted) if part is not None))
            place = step.end()

    def find(self, values: Mapping[str, Any]) -> Any:
        """values: of each namespace. Raises MissingVariable."""
        found: Any = values.get(self.root)
        for step in self.steps:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                raise MissingVariable(
                    f"{{{{ {self.text} }}}}: there is no {step!r} in this item's {self.root}.",
                    code="invalid_variable",
                ) from None
        if found is None and not self.steps:
            raise MissingVariable(f"{{{{ {self.text} }}}}: there is no {self.root} here.", code="invalid_variable")
        return found


class Template:
    def __init__(self, text: str, where: str = "") -> None:
        """where: the field that holds it, for messages. Raises InvalidRequest."""
        pieces = _PLACE.split(text)
        self._parts: list[str | Path] = [
            Path(piece, where) if place % 2 else piece for place, piece in enumerate(pieces)
        ]

    @property
    def roots(self) -> set[str]:
        return {part.root for part in self._parts if isinstance(part, Path)}

    def render(self, values: Mapping[str, Any]) -> str:
        """Texts are filled in as they are, all else as JSON. Raises MissingVariable."""
        return "".join(part if isinstance(part, str) else _shown(part.find(values)) for part in self._parts)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
