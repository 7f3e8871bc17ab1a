"""How long an example is for a model: rendered and encoded as when the model is served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmos_server.chat.renderer import Renderer
from llmos_server.data.examples import (
    ChatExample,
    Example,
    LabelledExample,
    PreferenceExample,
    PromptExample,
    RatedExample,
)


@dataclass(frozen=True)
class RenderedLengths:
    """Implements Lengths."""

    renderer: Renderer
    max_tokens: int
    tool_format: str = "auto"
    turns: str = "auto"

    def count(self, example: Example) -> int:
        """Raises InvalidRequest."""
        if isinstance(example, ChatExample):
            return self._count(example.messages, example.tools)
        if isinstance(example, PreferenceExample):
            answers = (example.preferred, example.rejected)
            return max(self._count([*example.messages, answer], example.tools) for answer in answers)
        if isinstance(example, PromptExample):
            return self._count(example.messages, example.tools, is_asked=True)
        if isinstance(example, RatedExample):
            return self._count([*example.messages, example.answer], example.tools)
        texts = [example.text]
        if isinstance(example, LabelledExample) and example.text_pair is not None:
            texts.append(example.text_pair)
        return sum(len(self.renderer.encode(text, parse_special=False, param="text")) for text in texts)

    def _count(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, *, is_asked: bool = False
    ) -> int:
        ids = self.renderer.encode_chat(
            messages,
            add_generation_prompt=is_asked,
            tools=tools,
            tool_format=self.tool_format,
            turns=self.turns,
        )
        return len(ids)
