"""A chat as a file: Markdown to read, JSON to go on with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from llmos_tui.screens.chat.options import Options
from llmos_tui.screens.chat.thread import Answer, Thread

SUFFIXES = (".md", ".json")


class ExportFailed(Exception):
    """Says why."""


class Exists(ExportFailed):
    """There is such a file."""


def path_of(text: str) -> Path:
    """Raises ExportFailed for a name that doesn't say what is wanted."""
    path = Path(text).expanduser()
    if path.suffix not in SUFFIXES:
        raise ExportFailed(f"The name ends with .md (Markdown) or .json; {path.name!r} with neither.")
    return path


def write_export(path: Path, text: str, *, may_replace: bool) -> None:
    """For its owner alone. Raises Exists, or ExportFailed."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if may_replace else os.O_EXCL)
    try:
        with open(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Exists(f"{path} exists.") from None
    except OSError as error:
        raise ExportFailed(f"{path} can't be written: {error.strerror or error}") from None


def exported(path: Path, thread: Thread, options: Options, title: str) -> str:
    """In the form that the path's suffix names."""
    return to_json(thread, options, title) if path.suffix == ".json" else to_markdown(thread, options, title)


def to_markdown(thread: Thread, options: Options, title: str) -> str:
    parts = [f"# {title or 'Chat'}"]
    if options.system:
        parts += ["## System", options.system]
    for entry in thread.entries:
        if not isinstance(entry, Answer):
            parts += ["## User", entry.text]
            continue
        parts.append(f"## {entry.model}")
        if entry.reasoning:
            parts.append(f"<details><summary>Reasoning</summary>\n\n{entry.reasoning}\n\n</details>")
        for call in entry.calls:
            parts.append(f"Calls `{call.name}`:\n\n{fenced(call.arguments)}")
            if call.output is not None:
                parts.append(f"Result:\n\n{fenced(call.output)}")
        parts += [text for text in (entry.text, _error(entry), _opinion(entry)) if text]
    return "\n\n".join(parts) + "\n"


def fenced(text: str) -> str:
    """In a fence that is longer than any in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


def _error(answer: Answer) -> str:
    return f"> {answer.error}" if answer.error else ""


def _opinion(answer: Answer) -> str:
    opinion = answer.opinion
    told = []
    if opinion.rating:
        told.append("Rated " + ("+" if opinion.rating > 0 else "-"))
    if opinion.comment:
        told.append(f"Comment: {opinion.comment}")
    if opinion.correction is not None:
        told.append(f"Corrected: {opinion.correction}")
    return "\n".join(f"> {line}" for line in "\n".join(told).splitlines())


def to_json(thread: Thread, options: Options, title: str) -> str:
    """messages: as the API takes them. answers: what else is known of each, in their order."""
    chat = {
        "title": title,
        "options": options.kept(),
        "messages": thread.messages(options.system),
        "answers": [_answer(entry) for entry in thread.entries if isinstance(entry, Answer)],
    }
    return msgspec.json.format(msgspec.json.encode(chat), indent=2).decode() + "\n"


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "model": answer.model,
        "id": answer.response_id or None,
        "text": answer.text,
        "state": answer.state,
        "finish_reason": answer.finish_reason or None,
        "error": answer.error or None,
        "usage": answer.usage,
        "ttft_seconds": answer.ttft,
        "tokens_per_second": answer.pace,
        "rating": answer.opinion.rating,
        "correction": answer.opinion.correction,
        "comment": answer.opinion.comment,
        "tokens": answer.tokens or None,
    }
