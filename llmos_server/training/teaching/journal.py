"""What a teacher has answered so far, a line each, as it came: a run that goes on asks only for what is missing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """To one request."""

    prompt: str
    """What was asked, by its digest: a file that was changed meanwhile is asked anew."""
    number: int
    """Of the answers to that prompt."""
    message: dict[str, Any] | None = None
    """The assistant's; None where there is none to learn from."""
    reason: str = ""
    """Why there is none."""
    num_tokens: int = 0


class Journal:
    """A file of a job's folder. Answers are on the disk when sync() returns."""

    def __init__(self, path: Path) -> None:
        self._answers: dict[str, dict[int, Answer]] = {}
        whole = self._read(path)
        self._file = path.open("r+b" if path.exists() else "x+b")
        self._file.truncate(whole)
        self._file.seek(whole)

    def of(self, prompt: str) -> list[Answer]:
        """All to this prompt, by their number."""
        found = self._answers.get(prompt, {})
        return [found[number] for number in sorted(found)]

    def has(self, prompt: str, number: int) -> bool:
        return number in self._answers.get(prompt, {})

    def add(self, answer: Answer) -> None:
        self._note(answer)
        self._file.write(msgspec.json.encode(answer) + b"\n")

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def _read(self, path: Path) -> int:
        """Bytes up to the last whole line: a kill may have torn one."""
        if not path.exists():
            return 0
        size = 0
        with path.open("rb") as file:
            for line in file:
                try:
                    answer = msgspec.json.decode(line, type=Answer)
                except msgspec.DecodeError:
                    break
                if not line.endswith(b"\n"):
                    break
                self._note(answer)
                size += len(line)
        return size

    def _note(self, answer: Answer) -> None:
        self._answers.setdefault(answer.prompt, {})[answer.number] = answer
