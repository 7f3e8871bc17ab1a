"""A message's content: a string, or parts that are text."""

from __future__ import annotations

from typing import Any

from llmos_server.data.findings import Finder, kind_of, shown

_TEXT_PARTS = ("text", "input_text", "output_text")
_DAMAGED = "\N{REPLACEMENT CHARACTER}"


def read_content(sent: dict[str, Any], role: str, field: str, finder: Finder) -> str | list[dict[str, str]]:
    """ "" where it can't be read, which finder knows then, or where there is none."""
    value, field = sent.get("content"), f"{field}.content"
    if value is None and role == "assistant" and isinstance(sent.get("refusal"), str):
        value = sent["refusal"]
    if value is None:
        return ""
    if isinstance(value, str):
        check_text(value, field, finder)
        return value
    if not isinstance(value, list):
        finder.refuse(field, "wrong_type", f"It is {kind_of(value)}; it is a string, or a list of text parts.")
        return ""
    texts = [_read_part(part, f"{field}[{place}]", finder) for place, part in enumerate(value)]
    return [{"type": "text", "text": text} for text in texts if text is not None]


def is_empty(content: str | list[dict[str, str]]) -> bool:
    """Spaces are no text."""
    texts = [content] if isinstance(content, str) else [part["text"] for part in content]
    return not any(text.strip() for text in texts)


def check_text(text: str, field: str, finder: Finder) -> None:
    if _DAMAGED in text:
        finder.warn(field, "replacement_character", "It holds U+FFFD: characters were lost when it was written.")


def _read_part(part: Any, field: str, finder: Finder) -> str | None:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str):
        finder.refuse(field, "wrong_type", 'A part is {"type": "text", "text": ...}.')
        return None
    if kind not in (*_TEXT_PARTS, "refusal"):
        finder.refuse(
            f"{field}.type", "unsupported_content", f"It is {shown(kind)}; models here read text only. Leave it out."
        )
        return None
    name = "refusal" if kind == "refusal" else "text"
    text = part.get(name)
    if not isinstance(text, str):
        finder.refuse(f"{field}.{name}", "missing_field", "It is missing; it is a string.")
        return None
    check_text(text, f"{field}.{name}", finder)
    return text
