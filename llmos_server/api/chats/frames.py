"""A chat answer on the wire: the whole object, or chunks. What is the same in all chunks is encoded once."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from llmos_server.api.generation.answers import Answer
from llmos_server.api.generation.stops import stop_reason
from llmos_server.api.http.event_stream import encode
from llmos_server.api.schemas.chat import (
    AssistantMessage,
    CalledFunction,
    ChatChoice,
    ChatCompletion,
    ChoiceLogprobs,
    TokenLogprobEntry,
    ToolCall,
    TopLogprob,
    WireFinishReason,
)
from llmos_server.api.schemas.common import StreamOptions
from llmos_server.chat.deltas import CallDelta, TextDelta, TokenText


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
                message=_to_message(parts),
                logprobs=to_logprobs(tokens) if plan.sampling.logprobs is not None else None,
                finish_reason=_finish_reason(last) or "stop",
                stop_reason=stop_reason(plan, last),
                format_error=last.format_error or UNSET,
                token_ids=[id for text in parts for id in text.generated_ids] if plan.returns_ids else UNSET,
            )
        )
    return ChatCompletion(
        id=plan.id,
        created=plan.created,
        model=plan.served.id,
        system_fingerprint=plan.served.fingerprint,
        choices=choices,
        usage=answer.usage(),
        prompt_token_ids=plan.prompts[0] if plan.returns_ids else UNSET,
    )


def _to_message(parts: list[TextDelta]) -> AssistantMessage:
    content = "".join(part.text for part in parts)
    reasoning = "".join(part.reasoning for part in parts) or UNSET
    calls: list[ToolCall] = []
    for call in (call for part in parts for call in part.calls):
        if call.name:
            function = CalledFunction(name=call.name, arguments="")
            calls.append(ToolCall(id=call.id, type="function", function=function))
        function = calls[call.index].function
        function.arguments = f"{function.arguments}{call.arguments}"
    return AssistantMessage(
        content=None if calls and not content else content,
        reasoning_content=reasoning,
        reasoning=reasoning,
        tool_calls=calls or UNSET,
    )


def _finish_reason(text: TextDelta) -> WireFinishReason | None:
    return "tool_calls" if text.has_calls else text.finish_reason


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


def _call_delta(call: CallDelta) -> ToolCall:
    if call.name:
        function = CalledFunction(name=call.name, arguments="")
        return ToolCall(index=call.index, id=call.id, type="function", function=function)
    return ToolCall(index=call.index, function=CalledFunction(arguments=call.arguments))


class ChatFrames:
    """Chunks of one answer: for each choice the role, then what it says, then its finish_reason; usage last."""

    def __init__(self, answer: Answer, options: StreamOptions | None) -> None:
        plan = answer.plan
        self._answer = answer
        self._has_logprobs = plan.sampling.logprobs is not None
        self._returns_ids = plan.returns_ids
        self._wants_usage = bool(options and options.include_usage)
        self._counts_always = bool(options and options.continuous_usage_stats)
        head = {
            "id": plan.id,
            "object": "chat.completion.chunk",
            "created": plan.created,
            "model": plan.served.id,
            "system_fingerprint": plan.served.fingerprint,
        }
        self._head = b"data: " + encode(head)[:-1] + b',"choices":['
        self._choice_heads = [b'{"index":%d,"delta":' % index for index in range(plan.num_choices)]
        self._has_begun = False
        self._has_content = [plan.create_parser is None] * plan.num_choices
        """Text or calls; the first chunk says that there is text, unless all of it could turn out to be calls."""

    def step(self, texts: list[TextDelta]) -> bytes:
        tail = self._tail()
        pieces: list[bytes] = []
        if not self._has_begun:
            self._has_begun = True
            content = b'""' if self._answer.plan.create_parser is None else b"null"
            role = b'{"role":"assistant","content":' + content + b',"refusal":null}'
            role += b',"logprobs":null,"finish_reason":null}'
            first_tail = self._with_prompt(tail) if self._returns_ids else tail
            pieces += [self._head + head + role + first_tail for head in self._choice_heads]
        for text in texts:
            start = self._head + self._choice_heads[text.index]
            logprobs = self._logprobs(text)
            ids = b',"token_ids":' + encode(text.token_ids) if self._returns_ids else b""
            for delta in self._deltas(text):
                pieces.append(start + delta + b',"logprobs":' + logprobs + b',"finish_reason":null' + ids + b"}" + tail)
                logprobs, ids = b"null", b""
            if text.finish_reason is not None:
                ended = b'{},"logprobs":null,"finish_reason":' + encode(_finish_reason(text))
                ended += b',"stop_reason":' + encode(stop_reason(self._answer.plan, text))
                if text.format_error:
                    ended += b',"format_error":' + encode(text.format_error)
                if self._returns_ids:
                    ended += b',"token_ids":' + encode(text.generated_ids[len(text.token_ids) :])
                pieces.append(start + ended + b"}" + tail)
        return b"".join(pieces)

    def _deltas(self, text: TextDelta) -> Iterator[bytes]:
        """One for each kind of text; one without any where there are tokens whose text is held back."""
        is_empty = True
        if text.reasoning:
            is_empty = False
            reasoning = encode(text.reasoning)
            yield b'{"reasoning_content":' + reasoning + b',"reasoning":' + reasoning + b"}"
        if text.text:
            is_empty = False
            self._has_content[text.index] = True
            yield b'{"content":' + encode(text.text) + b"}"
        for call in text.calls:
            is_empty = False
            self._has_content[text.index] = True
            yield b'{"tool_calls":[' + encode(_call_delta(call)) + b"]}"
        if text.finish_reason is not None and not self._has_content[text.index]:
            is_empty = False
            yield b'{"content":""}'
        if is_empty and (text.tokens or (self._returns_ids and text.token_ids)):
            yield b"{}"

    def end(self) -> bytes:
        if not self._wants_usage:
            return b""
        return self._head + b'],"usage":' + encode(self._answer.usage()) + b"}\n\n"

    def _tail(self) -> bytes:
        """What ends a chunk that has choices."""
        if not self._wants_usage:
            return b"]}\n\n"
        usage = encode(self._answer.usage()) if self._counts_always else b"null"
        return b'],"usage":' + usage + b"}\n\n"

    def _with_prompt(self, tail: bytes) -> bytes:
        return b'],"prompt_token_ids":' + encode(self._answer.plan.prompts[0]) + tail.removeprefix(b"]")

    def _logprobs(self, text: TextDelta) -> bytes:
        return encode(to_logprobs(text.tokens or [])) if self._has_logprobs else b"null"
