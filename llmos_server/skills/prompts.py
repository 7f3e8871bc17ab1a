"""Prompts in files: what a skill says to a model, apart from its code."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Prompts:
    """Jinja templates, folder/NAME.md. What is filled in stays text: it is never read as a template."""

    def __init__(self, folder: Path) -> None:
        from jinja2 import StrictUndefined  # Every process imports this module, and few render prompts.
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        self._folder = folder
        self._environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
        )

    def render(self, name: str, **values: Any) -> str:
        """Without white space at either end. Raises ValueError that names the file and, say, the variable."""
        from jinja2 import TemplateError

        path = self._folder / f"{name}.md"
        try:
            return self._environment.from_string(path.read_text(encoding="utf-8")).render(values).strip()
        except OSError as error:
            raise ValueError(f"{path} can't be read ({error.strerror})") from None
        except TemplateError as error:
            raise ValueError(f"{path}: {error}") from None
