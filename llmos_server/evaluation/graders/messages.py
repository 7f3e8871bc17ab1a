"""Messages whose texts are templates: a grader's, and those that a run asks its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.graders.spec import Message
from llmos_server.evaluation.templates import Template

TEXTS = ("input_text", "output_text", "text")


class MessageTemplates:
    def __init__(self, messages: Sequence[Message], where: str) -> None:
        """where: the field that holds them. Raises InvalidRequest."""
        self._messages = [
            (message.role, Template(_text(message.content, f"{where}[{place}].content"), f"{where}[{place}].content"))
            for place, message in enumerate(messages)
        ]

    @property
    def roots(self) -> set[str]:
        return {root for _, template in self._messages for root in template.roots}

    def render(self, values: Mapping[str, Any]) -> list[dict[str, str]]:
        """As /v1/chat/completions takes them. Raises MissingVariable."""
        return [{"role": role, "content": template.render(values)} for role, template in self._messages]


def _text(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_text(part, f"{where}[{place}]") for place, part in enumerate(content))
    kind = content.get("type") if isinstance(content, dict) else None
    text = content.get("text") if isinstance(content, dict) else None
    if kind in TEXTS and isinstance(text, str):
        return text
    if kind in ("input_image", "input_audio"):
        raise InvalidRequest(
            f"{where} is of the type {kind}: this server's models read text only; send input_text.",
            param=where,
            code="unsupported_content",
        )
    raise InvalidRequest(
        f'{where} is a text, {{"type": "input_text", "text": ...}}, or a list of these.',
        param=where,
        code="invalid_value",
    )
