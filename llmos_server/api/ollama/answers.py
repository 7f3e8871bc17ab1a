"""Answers of Ollama's chat and generate: lines of a stream, or the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import UNSET

from llmos_server.api.generation.answers import Answer
from llmos_server.api.ollama.calls import CallCollector
from llmos_server.api.ollama.ndjson import line, timestamp, to_nanoseconds
from llmos_server.api.schemas.ollama import (
    OllamaAnswer,
    OllamaAnswerMessage,
    OllamaChatAnswer,
    OllamaGenerateAnswer,
    OllamaLogprob,
    OllamaMadeCall,
    OllamaTokenLogprob,
)
from llmos_server.chat.deltas import TextDelta, TokenText


class Piece(NamedTuple):
    """What an answer says, or a part of it."""

    content: str = ""
    thinking: str = ""
    calls: list[OllamaMadeCall] = []


Shape = Callable[..., OllamaAnswer]
"""(piece, **fields of OllamaAnswer)"""


def chat_shape(piece: Piece, **fields: Any) -> OllamaChatAnswer:
    message = OllamaAnswerMessage(
        content=piece.content, thinking=piece.thinking or UNSET, tool_calls=piece.calls or UNSET
    )
    return OllamaChatAnswer(message=message, **fields)


def generate_shape(piece: Piece, **fields: Any) -> OllamaGenerateAnswer:
    return OllamaGenerateAnswer(response=piece.content, thinking=piece.thinking or UNSET, **fields)


def without_text(shape: Shape, model: str, reason: str) -> OllamaAnswer:
    """To a request without a prompt. reason: load or unload."""
    return shape(Piece(), model=model, created_at=timestamp(), done=True, done_reason=reason)


class OllamaFrames:
    """A line for each text, and a last one with the figures. model: as the request names it."""

    def __init__(self, answer: Answer, model: str, shape: Shape) -> None:
        self._answer = answer
        self._model = model
        self._shape = shape
        self._calls = CallCollector()
        self._last: TextDelta | None = None

    def step(self, texts: list[TextDelta]) -> bytes:
        written: list[bytes] = []
        for text in texts:
            piece = self._piece([text])
            if any(piece) or text.tokens:
                fields = {"created_at": timestamp(), "done": False, "logprobs": self._logprobs([text])}
                written.append(line(self._shape(piece, model=self._model, **fields)))
        return b"".join(written)

    def end(self) -> bytes:
        return line(self._shape(Piece(), **self._ending()))

    def whole(self, texts: list[TextDelta]) -> OllamaAnswer:
        piece = self._piece(texts)
        return self._shape(piece, logprobs=self._logprobs(texts), **self._ending())

    def _piece(self, texts: list[TextDelta]) -> Piece:
        self._last = texts[-1]
        return Piece(
            content="".join(text.text for text in texts),
            thinking="".join(text.reasoning for text in texts),
            calls=self._calls.feed((call for text in texts for call in text.calls), self._last.finish_reason),
        )

    def _logprobs(self, texts: list[TextDelta]) -> Any:
        num_top = self._answer.plan.sampling.logprobs
        if num_top is None:
            return UNSET
        return [_to_logprob(token, num_top) for text in texts for token in text.tokens or []]

    def _ending(self) -> dict[str, Any]:
        answer, last, seconds = self._answer, self._last, self._answer.seconds
        return {
            "model": self._model,
            "created_at": timestamp(),
            "done": True,
            "done_reason": (last and last.finish_reason) or "stop",
            "format_error": (last and last.format_error) or UNSET,
            "total_duration": to_nanoseconds(seconds.total),
            "load_duration": to_nanoseconds(seconds.load),
            "prompt_eval_count": answer.plan.num_prompt_tokens,
            "prompt_eval_duration": to_nanoseconds(seconds.prefill),
            "eval_count": answer.num_completion_tokens,
            "eval_duration": to_nanoseconds(seconds.decode),
        }


def _to_logprob(token: TokenText, num_top: int) -> OllamaLogprob:
    top = [OllamaTokenLogprob(token=text, logprob=value, bytes=list(data)) for _, text, data, value in token.top]
    return OllamaLogprob(
        token=token.text, logprob=token.logprob, bytes=list(token.bytes), top_logprobs=top if num_top else UNSET
    )
