"""A chat answer on the wire: the whole object, or chunks. What is the same in all chunks is encoded once."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from llmos_server.api.answers import Answer
from llmos_server.api.schemas.chat import (
    AssistantMessage,
    ChatChoice,
    ChatCompletion,
    ChoiceLogprobs,
    TokenLogprobEntry,
    TopLogprob,
)
from llmos_server.api.schemas.common import StreamOptions
from llmos_server.api.stops import stop_reason
from llmos_server.chat.deltas import TextDelta, TokenText

_encode = msgspec.json.Encoder().encode


def to_completion(answer: Answer, texts: list[TextDelta]) -> ChatCompletion:
    plan = answer.plan
    choices: list[ChatChoice] = []
    for index in range(plan.num_choices):
        parts = [text for text in texts if text.index == index]
        tokens = [token for text in parts for token in text.tokens or []]
        last = parts[-1]
        choices.append(
            ChatChoice(
                index=index,
                message=AssistantMessage(content="".join(text.text for text in parts)),
                logprobs=to_logprobs(tokens) if plan.sampling.logprobs is not None else None,
                finish_reason=last.finish_reason or "stop",
                stop_reason=stop_reason(plan, last),
                format_error=last.format_error or UNSET,
            )
        )
    return ChatCompletion(
        id=plan.id,
        created=plan.created,
        model=plan.served.id,
        system_fingerprint=plan.served.fingerprint,
        choices=choices,
        usage=answer.usage(),
    )


def to_logprobs(tokens: list[TokenText]) -> ChoiceLogprobs:
    return ChoiceLogprobs(
        content=[
            TokenLogprobEntry(
                token=token.text,
                logprob=token.logprob,
                bytes=list(token.bytes),
                top_logprobs=[
                    TopLogprob(token=text, logprob=logprob, bytes=list(data)) for _, text, data, logprob in token.top
                ],
            )
            for token in tokens
        ]
    )


class ChatFrames:
    """Chunks of one answer: for each choice the role, then its text, then its finish_reason; usage last."""

    def __init__(self, answer: Answer, options: StreamOptions | None) -> None:
        plan = answer.plan
        self._answer = answer
        self._has_logprobs = plan.sampling.logprobs is not None
        self._wants_usage = bool(options and options.include_usage)
        self._counts_always = bool(options and options.continuous_usage_stats)
        head = {
            "id": plan.id,
            "object": "chat.completion.chunk",
            "created": plan.created,
            "model": plan.served.id,
            "system_fingerprint": plan.served.fingerprint,
        }
        self._head = b"data: " + _encode(head)[:-1] + b',"choices":['
        self._choice_heads = [b'{"index":%d,"delta":' % index for index in range(plan.num_choices)]
        self._has_begun = False

    def step(self, texts: list[TextDelta]) -> bytes:
        tail = self._tail()
        pieces: list[bytes] = []
        if not self._has_begun:
            self._has_begun = True
            role = b'{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}'
            pieces += [self._head + head + role + tail for head in self._choice_heads]
        for text in texts:
            start = self._head + self._choice_heads[text.index]
            if text.text or text.tokens:
                delta = b'{"content":' + _encode(text.text) + b'},"logprobs":' + self._logprobs(text)
                pieces.append(start + delta + b',"finish_reason":null}' + tail)
            if text.finish_reason is not None:
                ended = b'{},"logprobs":null,"finish_reason":' + _encode(text.finish_reason)
                ended += b',"stop_reason":' + _encode(stop_reason(self._answer.plan, text))
                if text.format_error:
                    ended += b',"format_error":' + _encode(text.format_error)
                pieces.append(start + ended + b"}" + tail)
        return b"".join(pieces)

    def end(self) -> bytes:
        if not self._wants_usage:
            return b""
        return self._head + b'],"usage":' + _encode(self._answer.usage()) + b"}\n\n"

    def _tail(self) -> bytes:
        """What ends a chunk that has choices."""
        if not self._wants_usage:
            return b"]}\n\n"
        usage = _encode(self._answer.usage()) if self._counts_always else b"null"
        return b'],"usage":' + usage + b"}\n\n"

    def _logprobs(self, text: TextDelta) -> bytes:
        return _encode(to_logprobs(text.tokens or [])) if self._has_logprobs else b"null"
