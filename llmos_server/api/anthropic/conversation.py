"""Anthropic's system prompt and turns as OpenAI's messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from llmos_server.api.schemas.anthropic import Block, InputMessage
from llmos_server.api.schemas.chat import MAX_MESSAGES, MAX_PARTS, MAX_TOOL_CALLS, ChatMessage, ContentPart
from llmos_server.errors import InvalidRequest

ERROR = "Error: "
FOUND = "{} is among the tools."
"""For a tool_reference. What it stands for was told with the other tools: none is held back here."""
BILLING = "x-anthropic-billing-header:"
"""Claude Code begins a block of its system prompt with it: for the bill, not for the model, and another one in every
request, so that no prefix would be found in the cache."""

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(slots=True)
class Draft:
    role: Role
    place: str
    """In Anthropic's request."""
    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    call_id: str | None = None

    def to_message(self) -> ChatMessage:
        content: str | list[ContentPart] = (
            self.texts[0] if len(self.texts) == 1 else [ContentPart(type="text", text=text) for text in self.texts]
        )
        return ChatMessage(
            role=self.role,
            content=content or None if self.role == "assistant" else content or "",
            reasoning_content="\n".join(self.reasoning) or None,
            tool_calls=self.calls or None,
            tool_call_id=self.call_id,
        )


class Conversation:
    """Feed it the system prompt and every message, in order. Turns of one role in a row become one, as Anthropic says.

    ignored: paths of what is left out.
    """

    def __init__(self, max_tool_output: int) -> None:
        """max_tool_output: characters that one tool's result may have."""
        self.ignored: list[str] = []
        self._drafts: list[Draft] = []
        self._known: set[str] = set()
        self._max_tool_output = max_tool_output

    @property
    def messages(self) -> list[ChatMessage]:
        return [draft.to_message() for draft in self._drafts]

    @property
    def places(self) -> list[str]:
        """Of each of the messages, in Anthropic's request."""
        return [draft.place for draft in self._drafts]

    @property
    def is_continued(self) -> bool:
        """The last message is the begin of the answer. Raises InvalidRequest where it is none that can go on."""
        if not self._drafts:
            raise refusal("messages", "there is no text in them; send a user's message")
        last = self._drafts[-1]
        if last.role != "assistant":
            return False
        if last.calls or not last.texts:
            message = "the last message is the assistant's and has no text to go on from; end with the user's"
            raise refusal(last.place, message)
        return True

    def add_system(self, system: str | list[Block]) -> None:
        self._add_texts("system", "system", _blocks(system))

    def add(self, message: InputMessage, where: str) -> None:
        """Raises InvalidRequest that names the block."""
        blocks, place = _blocks(message.content), f"{where}.content"
        if message.role == "assistant":
            self._add_assistant(blocks, place)
        elif message.role == "system":
            self._add_texts("system", place, blocks)
        else:
            self._add_user(blocks, place)

    def _add_texts(self, role: Role, place: str, blocks: list[Block]) -> None:
        draft = Draft(role, place)
        for where, block in _numbered(blocks, place):
            _require(block, where, ("text",))
            text = _needed(block.text, f"{where}.text")
            if text.startswith(BILLING):
                self.ignored.append(where)
            else:
                draft.texts.append(text)
        if draft.texts:
            self._append(draft, place)

    def _add_user(self, blocks: list[Block], place: str) -> None:
        if not blocks:
            self._turn("user", place).texts.append("")
        for where, block in _numbered(blocks, place):
            _require(block, where, ("text", "tool_result"))
            if block.type == "text":
                self._turn("user", place).texts.append(_needed(block.text, f"{where}.text"))
            else:
                self._append(self._result(block, where), where)

    def _add_assistant(self, blocks: list[Block], place: str) -> None:
        turn = self._turn("assistant", place)
        for where, block in _numbered(blocks, place):
            _require(block, where, ("text", "thinking", "redacted_thinking", "tool_use"))
            if block.type == "text":
                turn.texts.append(_needed(block.text, f"{where}.text"))
            elif block.type == "thinking":
                turn.reasoning.append(_needed(block.thinking, f"{where}.thinking"))
            elif block.type == "tool_use":
                turn.calls.append(self._call(block, where))
            else:
                self.ignored.append(where)
        if len(turn.calls) > MAX_TOOL_CALLS:
            raise refusal(place, f"it has {len(turn.calls)} tool_use blocks; a message may have {MAX_TOOL_CALLS}")

    def _call(self, block: Block, where: str) -> dict[str, Any]:
        call_id, name = _needed(block.id, f"{where}.id"), _needed(block.name, f"{where}.name")
        self._known.add(call_id)
        arguments = msgspec.json.encode(block.input or {}).decode()
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}

    def _result(self, block: Block, where: str) -> Draft:
        call_id = _needed(block.tool_use_id, f"{where}.tool_use_id")
        if call_id not in self._known:
            message = f"no assistant message before it has a tool_use block with the id {call_id[:64]!r}"
            raise refusal(f"{where}.tool_use_id", message)
        content = block.content or ""
        texts = [content] if isinstance(content, str) else []
        if not isinstance(content, str):
            for place, part in enumerate(content):
                inner = f"{where}.content[{place}]"
                _require(part, inner, ("text", "tool_reference"))
                if part.type == "text":
                    texts.append(_needed(part.text, f"{inner}.text"))
                else:
                    texts.append(FOUND.format(_needed(part.tool_name, f"{inner}.tool_name")))
        if block.is_error:
            texts = [ERROR + (texts[0] if texts else ""), *texts[1:]]
        length = sum(map(len, texts))
        if length > self._max_tool_output:
            message = f"it has {length} characters; a tool's result may have {self._max_tool_output}"
            raise refusal(f"{where}.content", message)
        return Draft("tool", where, texts=texts, call_id=call_id)

    def _turn(self, role: Role, place: str) -> Draft:
        """The last message, if it is of this role, else a new one."""
        if not self._drafts or self._drafts[-1].role != role:
            self._append(Draft(role, place), place)
        return self._drafts[-1]

    def _append(self, draft: Draft, where: str) -> None:
        if len(self._drafts) == MAX_MESSAGES:
            raise refusal(where, f"turns and tools' results are more than {MAX_MESSAGES}; leave out the oldest")
        if len(draft.texts) > MAX_PARTS:
            raise refusal(where, f"it has more than {MAX_PARTS} blocks")
        self._drafts.append(draft)


def refusal(param: str, reason: str, code: str = "invalid_value") -> InvalidRequest:
    return InvalidRequest(f"{param}: {reason}.", param=param, code=code)


def missing(param: str) -> InvalidRequest:
    return InvalidRequest(f"{param} is missing.", param=param, code="missing_required_parameter")


def _blocks(content: str | list[Block]) -> list[Block]:
    return [Block(type="text", text=content)] if isinstance(content, str) else content


def _numbered(blocks: list[Block], place: str) -> Iterator[tuple[str, Block]]:
    return ((f"{place}[{number}]", block) for number, block in enumerate(blocks))


def _require(block: Any, where: str, kinds: tuple[str, ...]) -> None:
    if block.type in kinds:
        return
    if block.type in ("image", "document"):
        reason = f"{block.type} blocks can't be read: this server's models read text only; send text blocks"
    else:
        reason = f"{block.type[:40]!r} blocks aren't supported here ({', '.join(kinds)})"
    raise refusal(where, reason, "unsupported_content")


def _needed(value: str | None, where: str) -> str:
    if value is None:
        raise missing(where)
    return value
