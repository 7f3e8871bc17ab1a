"""Which plugin ended the process: written down before each is loaded, taken back after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE = "plugins.crashed"
"""In LLMOS_HOME: a name a line. Whoever deletes it has them tried again."""


class CrashNote:
    """For the one process that serves an LLMOS_HOME. path: None writes nothing and knows of none."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.crashed = path.read_text(encoding="utf-8").split() if path is not None and path.is_file() else []
        """Plugins during whose load a process ended."""

    @contextmanager
    def loading(self, name: str) -> Iterator[None]:
        self._write([*self.crashed, name])
        try:
            yield
        finally:
            self._write(self.crashed)

    def _write(self, names: list[str]) -> None:
        if self.path is None:
            return
        if names:
            self.path.write_text("\n".join(names) + "\n", encoding="utf-8")
        else:
            self.path.unlink(missing_ok=True)
