"""Chats and completions as plugins' filters see them, and the guard of their answers."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from llmos_server.api.bodies.body import convert
from llmos_server.api.filters.filtering import REQUESTS, Form, pass_filters
from llmos_server.api.flights import flight_of
from llmos_server.api.generation.answer_guard import AnswerGuard
from llmos_server.api.http.access import principal_of
from llmos_server.api.schemas.chat import ChatCompletionRequest
from llmos_server.api.schemas.completions import CompletionRequest
from llmos_server.api.services import services_of
from llmos_server.errors import InvalidRequest
from llmos_server.plugins.filters import FilteredRequest
from llmos_server.plugins.guards import Guard
from llmos_server.plugins.host import PluginHost

ANSWERS = "register_response_filters"
_APART = frozenset({"model", "messages", "prompt", "stream", "stream_options"})
"""Fields that are not among a FilteredRequest's params: told in fields of their own, or no filter's affair."""

R = TypeVar("R", ChatCompletionRequest, CompletionRequest)


async def filter_request(
    connection: Any, data: R, endpoint: Literal["chat.completions", "completions", "skill"]
) -> tuple[R, AnswerGuard | None]:
    """The request as its filters leave it, and what guards its answer, if anything does. Raises as pass_filters."""
    host = services_of(connection).plugins
    flight_of(connection).board(services_of(connection).flights)
    if not host.offers(REQUESTS) and not host.offers(ANSWERS):
        return data, None
    seen = _to_filtered(data, endpoint, principal_of(connection).key_id)
    form: Form[Any] = _Chat()
    data, seen = await pass_filters(host, form, data, seen)
    if not host.offers(ANSWERS):
        return data, None
    _refuse_tokens(data, host)
    return data, AnswerGuard(host, seen)


def _to_filtered(data: ChatCompletionRequest | CompletionRequest, endpoint: Any, key_id: str) -> FilteredRequest:
    fields = {name: value for name, value in msgspec.to_builtins(data).items() if value is not None}
    prompt = fields.get("prompt", [])
    messages = fields.get("messages", [])
    return FilteredRequest(
        endpoint=endpoint,
        model=data.model or "",
        key_id=key_id,
        messages=[{name: value for name, value in message.items() if value is not None} for message in messages],
        prompts=[prompt] if isinstance(prompt, str) else prompt,
        params={name: value for name, value in fields.items() if name not in _APART},
    )


class _Chat:
    """A Form."""

    def check_readable(self, data: ChatCompletionRequest | CompletionRequest, guard: Guard) -> None:
        prompt = data.prompt if isinstance(data, CompletionRequest) else ""
        if not isinstance(prompt, str) and not all(isinstance(part, str) for part in prompt):
            raise InvalidRequest(
                f"prompt: {guard.label} reads text; send text instead of token ids.",
                param="prompt",
                code="invalid_value",
            )

    def to_wire(
        self, seen: FilteredRequest, data: ChatCompletionRequest | CompletionRequest
    ) -> ChatCompletionRequest | CompletionRequest:
        fields: dict[str, Any] = {**seen.params, "model": seen.model or None}
        if isinstance(data, ChatCompletionRequest):
            fields["messages"] = seen.messages
        else:
            is_one = isinstance(data.prompt, str) and len(seen.prompts) == 1
            fields["prompt"] = seen.prompts[0] if is_one else seen.prompts
        unchanged = {"stream": data.stream, "stream_options": data.stream_options}
        return msgspec.structs.replace(convert(fields, type(data)), **unchanged)

    def param(self, data: ChatCompletionRequest | CompletionRequest) -> str:
        return "prompt" if isinstance(data, CompletionRequest) else "messages"


def _refuse_tokens(data: ChatCompletionRequest | CompletionRequest, host: PluginHost) -> None:
    sent = {
        "logprobs": data.logprobs is not None and data.logprobs is not False,
        "return_token_ids": bool(data.return_token_ids),
    }
    if name := next((name for name, is_sent in sent.items() if is_sent), None):
        guard = Guard(host, host.offers(ANSWERS)[0])
        raise InvalidRequest(
            f"{name} can't be had here: that would show what the model wrote before {guard.label} saw it. Leave "
            f"{name} out.",
            param=name,
            code="unsupported_parameter",
        )
