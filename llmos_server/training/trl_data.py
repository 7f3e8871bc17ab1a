"""Files in TRL's formats, as OpenAI's: a recipe that runs with `trl` runs here with the same data. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmos_server.data.lines import Readable, read_lines

Line = dict[str, Any]


def copy_as_openai(source: Path, target: Path) -> None:
    """Line by line, so that numbers of lines stay. What isn't in one of TRL's formats is copied as it is: whoever reads
    the copy tells what is wrong with it. Raises OSError."""
    with source.open("rb") as file, target.open("wb") as copy:
        _copy(file, copy.write)


def _copy(file: Readable, write: Callable[[bytes], object]) -> None:
    for line in read_lines(file):
        write((line.data if line.data is None else translated(line.data)) or b"")
        write(b"\n")


def translated(data: bytes) -> bytes:
    """One line."""
    try:
        line = json.loads(data)
    except (ValueError, RecursionError):
        return data
    found = as_openai(line) if isinstance(line, dict) else None
    return data if found is None else json.dumps(found, ensure_ascii=False).encode()


def as_openai(line: Line) -> Line | None:
    """Of {prompt, completion} and {prompt, chosen, rejected}, all lists of messages; None for anything else."""
    names = {"prompt", "completion"} if "completion" in line else {"prompt", "chosen", "rejected"}
    if not all(isinstance(line.get(name), list) for name in names):
        return None
    rest = {name: value for name, value in line.items() if name not in names}
    tools = {"tools": rest.pop("tools")} if rest.get("tools") else {}
    if "completion" in names:
        return {**rest, **tools, "messages": [*map(_only_read, line["prompt"]), *line["completion"]]}
    return {
        **rest,
        "input": {"messages": line["prompt"], **tools},
        "preferred_output": line["chosen"],
        "non_preferred_output": line["rejected"],
    }


def _only_read(message: Any) -> Any:
    """An answer of the prompt isn't learned."""
    is_answer = isinstance(message, dict) and message.get("role") == "assistant"
    return {**message, "weight": 0} if is_answer else message
