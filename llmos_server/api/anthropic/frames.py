"""An answer as Anthropic's events: the message begins, each block begins, grows and ends, the message ends."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from llmos_server.api.anthropic.pieces import SIGNATURE, Piece, ending, id_of, pieces_of, usage_of
from llmos_server.api.generation.answers import Answer
from llmos_server.api.http.event_stream import encode
from llmos_server.api.schemas.anthropic import AnthropicMessage
from llmos_server.chat.deltas import TextDelta

PING = b'event: ping\ndata: {"type":"ping"}\n\n'

_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}
"""Kind of block -> type of its deltas, and the field of these that grows."""


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + encode({"type": kind, **fields}) + b"\n\n"


class MessageFrames:
    def __init__(self, answer: Answer, *, shows_thinking: bool) -> None:
        self._answer = answer
        self._shows_thinking = shows_thinking
        self._has_begun = False
        self._index = -1
        self._kind = ""
        """Of the block that is open."""
        self._head = b""
        """What every delta of that block begins with."""
        self._last: TextDelta | None = None

    def step(self, texts: list[TextDelta]) -> bytes:
        written = [] if self._has_begun else [self._begin()]
        for text in texts:
            self._last = text
            for piece in pieces_of(text):
                written += self._write(piece)
        return b"".join(written)

    def end(self) -> bytes:
        assert self._last is not None, "an answer has a last text"
        stop_reason, stop_sequence = ending(self._answer, self._last)
        delta: dict[str, Any] = {"stop_reason": stop_reason, "stop_sequence": stop_sequence}
        if self._last.format_error:
            delta["format_error"] = self._last.format_error
        ended = event("message_delta", delta=delta, usage=usage_of(self._answer))
        return b"".join([*self._close(), ended, event("message_stop")])

    def _begin(self) -> bytes:
        self._has_begun = True
        answer = self._answer
        message = AnthropicMessage(
            id=id_of(answer),
            model=answer.plan.served.id,
            content=[],
            stop_reason=None,
            stop_sequence=None,
            usage=structs.replace(usage_of(answer), output_tokens=0),
        )
        return event("message_start", message=message) + PING

    def _write(self, piece: Piece) -> list[bytes]:
        written: list[bytes] = []
        if piece.call is not None or piece.kind != self._kind:
            written += [*self._close(), self._open(piece)]
        if piece.text and (piece.kind != "thinking" or self._shows_thinking):
            written.append(self._head + encode(piece.text) + b"}}\n\n")
        return written

    def _open(self, piece: Piece) -> bytes:
        self._kind = piece.kind
        self._index += 1
        block: dict[str, Any] = {"type": piece.kind}
        if piece.call is not None:
            block |= {"id": piece.call.id, "name": piece.call.name, "input": {}}
        elif piece.kind == "thinking":
            block |= {"thinking": "", "signature": ""}
        else:
            block["text"] = ""
        delta, grows = _DELTAS[piece.kind]
        head = f'{{"type":"content_block_delta","index":{self._index},"delta":{{"type":"{delta}","{grows}":'
        self._head = b"event: content_block_delta\ndata: " + head.encode()
        return event("content_block_start", index=self._index, content_block=block)

    def _close(self) -> list[bytes]:
        if not self._kind:
            return []
        ended = event("content_block_stop", index=self._index)
        signature = {"type": "signature_delta", "signature": SIGNATURE}
        is_thinking, self._kind = self._kind == "thinking", ""
        return [event("content_block_delta", index=self._index, delta=signature), ended] if is_thinking else [ended]
