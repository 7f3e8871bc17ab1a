"""Plugins' filters around requests and answers: wire structs to what filters see, and back."""

from __future__ import annotations

import functools
from typing import Any, Literal, TypeVar

import msgspec

from llmos_server.api.access import principal_of
from llmos_server.api.answer_guard import AnswerGuard
from llmos_server.api.body import convert
from llmos_server.api.schemas.chat import ChatCompletionRequest
from llmos_server.api.schemas.completions import CompletionRequest
from llmos_server.api.services import services_of
from llmos_server.errors import InvalidRequest, PluginFailed
from llmos_server.plugins.filters import FilteredRequest, Refusal
from llmos_server.plugins.guards import FilterFailed, Guard
from llmos_server.plugins.host import PluginHost

REQUESTS = "register_request_filters"
ANSWERS = "register_response_filters"
_APART = frozenset({"model", "messages", "prompt", "stream", "stream_options"})
"""Fields that are not among a FilteredRequest's params: told in fields of their own, or no filter's affair."""

Endpoint = Literal["chat.completions", "completions", "skill"]
R = TypeVar("R", ChatCompletionRequest, CompletionRequest)


async def filter_request(connection: Any, data: R, endpoint: Endpoint) -> tuple[R, AnswerGuard | None]:
    """The request as its filters leave it, and what guards its answer, if anything does.

    Raises InvalidRequest with a filter's reason, PluginFailed when a filter fails that nothing passes without.
    """
    host = services_of(connection).plugins
    if not host.offers(REQUESTS) and not host.offers(ANSWERS):
        return data, None
    seen = _to_filtered(data, endpoint, principal_of(connection).key_id)
    for offer in host.offers(REQUESTS):
        data, seen = await _filter_once(Guard(host, offer), data, seen)
    if not host.offers(ANSWERS):
        return data, None
    _refuse_logprobs(data, host)
    return data, AnswerGuard(host, seen)


async def _filter_once(guard: Guard, data: R, seen: FilteredRequest) -> tuple[R, FilteredRequest]:
    _refuse_token_ids(data, guard)
    try:
        if guard.is_passed_over():
            return data, seen
        check = functools.partial(guard.offer.value.check, seen)
        changed = await guard.call(check, FilteredRequest | None)
        if changed is None or changed == seen:
            return data, seen
        kept = msgspec.structs.replace(changed, endpoint=seen.endpoint, key_id=seen.key_id)
        return _to_wire(kept, data), kept
    except Refusal as refusal:
        raise InvalidRequest(
            f"{guard.label[0].upper()}{guard.label[1:]} refuses this request: {refusal}",
            param="prompt" if seen.prompts else "messages",
            code="refused_by_plugin",
        ) from None
    except FilterFailed as failure:
        raise PluginFailed(str(failure), retry_after=failure.retry_after) from None
    except InvalidRequest as error:
        return _rejected(guard, error, data, seen)


def _rejected(guard: Guard, error: InvalidRequest, data: R, seen: FilteredRequest) -> tuple[R, FilteredRequest]:
    """What a filter made of the request is no request."""
    try:
        guard.reject(f"made a request of it that can't be ({error.param or 'body'})")
    except FilterFailed as failure:
        raise PluginFailed(str(failure), retry_after=failure.retry_after) from None
    return data, seen


def _to_filtered(data: ChatCompletionRequest | CompletionRequest, endpoint: Endpoint, key_id: str) -> FilteredRequest:
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


def _to_wire(seen: FilteredRequest, data: R) -> R:
    """Raises InvalidRequest."""
    fields: dict[str, Any] = {**seen.params, "model": seen.model or None}
    if isinstance(data, ChatCompletionRequest):
        fields["messages"] = seen.messages
    else:
        fields["prompt"] = seen.prompts[0] if isinstance(data.prompt, str) and len(seen.prompts) == 1 else seen.prompts
    unchanged = {"stream": data.stream, "stream_options": data.stream_options}
    return msgspec.structs.replace(convert(fields, type(data)), **unchanged)


def _refuse_token_ids(data: ChatCompletionRequest | CompletionRequest, guard: Guard) -> None:
    prompt = data.prompt if isinstance(data, CompletionRequest) else ""
    if not isinstance(prompt, str) and not all(isinstance(part, str) for part in prompt):
        raise InvalidRequest(
            f"prompt: {guard.label} reads text; send text instead of token ids.", param="prompt", code="invalid_value"
        )


def _refuse_logprobs(data: ChatCompletionRequest | CompletionRequest, host: PluginHost) -> None:
    if data.logprobs is not None and data.logprobs is not False:
        guard = Guard(host, host.offers(ANSWERS)[0])
        raise InvalidRequest(
            f"logprobs can't be had here: they would show what the model wrote before {guard.label} saw it. Leave "
            "logprobs out.",
            param="logprobs",
            code="unsupported_parameter",
        )
