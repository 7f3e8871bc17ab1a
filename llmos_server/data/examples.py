"""Training examples as training reads them: checked, and the messages as the renderer takes them when it serves."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Message = dict[str, Any]
"""role, content and what belongs to tool calls, as chat.renderer takes it."""

Format = Literal["supervised", "preference", "reinforcement", "text", "rating", "label"]

Label = str | list[str] | float


class ChatExample(msgspec.Struct, frozen=True, kw_only=True):
    """Supervised: what the assistant should say."""

    line: int
    """Of the file, from 1."""
    messages: list[Message]
    trained: list[bool]
    """Of each message: whether its text is learned. At least one is, all of them the assistant's."""
    tools: list[dict[str, Any]] | None = None


class PreferenceExample(msgspec.Struct, frozen=True, kw_only=True):
    """Two answers to one chat, of which one is the better."""

    line: int
    messages: list[Message]
    """Up to the answer."""
    preferred: Message
    rejected: Message
    tools: list[dict[str, Any]] | None = None


class PromptExample(msgspec.Struct, frozen=True, kw_only=True):
    """Reinforcement: a chat that the model answers, and what graders judge the answer by."""

    line: int
    messages: list[Message]
    item: dict[str, Any]
    """All other fields of the line, for the templates of graders: {{ item.NAME }}."""
    tools: list[dict[str, Any]] | None = None


class TextExample(msgspec.Struct, frozen=True, kw_only=True):
    """Text to continue, for pre-training."""

    line: int
    text: str


class RatedExample(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to a chat, and whether it was a good one."""

    line: int
    messages: list[Message]
    """Up to the answer."""
    answer: Message
    is_good: bool
    tools: list[dict[str, Any]] | None = None


class LabelledExample(msgspec.Struct, frozen=True, kw_only=True):
    """A text, or a pair of texts, and what it is to be sorted as."""

    line: int
    text: str
    text_pair: str | None
    label: Label


Example = ChatExample | PreferenceExample | PromptExample | TextExample | RatedExample | LabelledExample
