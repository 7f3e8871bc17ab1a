"""An answer as one message."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import UNSET

from llmos_server.api.anthropic.half_json import read_object
from llmos_server.api.anthropic.pieces import SIGNATURE, Piece, ending, id_of, pieces_of, usage_of
from llmos_server.api.generation.answers import Answer
from llmos_server.api.schemas.anthropic import AnthropicMessage, ContentBlock, TextBlock, ThinkingBlock, ToolUseBlock
from llmos_server.chat.deltas import CallDelta, TextDelta


@dataclass(slots=True)
class Collected:
    kind: str
    call: CallDelta | None
    texts: list[str] = field(default_factory=list)

    def to_block(self, *, shows_thinking: bool) -> ContentBlock:
        text = "".join(self.texts)
        if self.call is not None:
            return ToolUseBlock(id=self.call.id, name=self.call.name, input=read_object(text))
        if self.kind == "thinking":
            return ThinkingBlock(thinking=text if shows_thinking else "", signature=SIGNATURE)
        return TextBlock(text=text)


def to_message(answer: Answer, texts: list[TextDelta], *, shows_thinking: bool) -> AnthropicMessage:
    found: list[Collected] = []
    for piece in (piece for text in texts for piece in pieces_of(text)):
        _add(found, piece)
    stop_reason, stop_sequence = ending(answer, texts[-1])
    return AnthropicMessage(
        id=id_of(answer),
        model=answer.plan.served.id,
        content=[block.to_block(shows_thinking=shows_thinking) for block in found],
        stop_reason=stop_reason,
        stop_sequence=stop_sequence,
        usage=usage_of(answer),
        format_error=texts[-1].format_error or UNSET,
    )


def _add(found: list[Collected], piece: Piece) -> None:
    if piece.call is not None or not found or found[-1].kind != piece.kind:
        found.append(Collected(piece.kind, piece.call))
    found[-1].texts.append(piece.text)
