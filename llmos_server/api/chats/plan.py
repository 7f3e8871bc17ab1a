"""A chat request checked, rendered and encoded: a Plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

import msgspec

from llmos_server.api.chats.answer_form import FormPlan, refuse_together
from llmos_server.api.chats.messages import Message, count_chars, to_template_messages
from llmos_server.api.chats.tools import plan_tools
from llmos_server.api.generation.plans import Plan, check_room, new_id
from llmos_server.api.generation.sampling import ALL_ROOM, num_choices, stop_strings, to_sampling
from llmos_server.api.generation.structured import plan_grammar
from llmos_server.api.schemas.chat import ChatCompletionRequest
from llmos_server.api.schemas.tokenize import PromptFields
from llmos_server.api.served import ServedModel
from llmos_server.api.services import Services
from llmos_server.chat.guarded import shared_guard
from llmos_server.chat.tools.tool import Tool
from llmos_server.contracts import EngineInfo
from llmos_server.errors import InvalidRequest

T = TypeVar("T")

MIN_ANSWER_ROOM = 256
"""Tokens that drop_oldest leaves for an answer of unstated length, at most a quarter of the context."""


class TemplateOptions(TypedDict):
    """Keyword arguments of Renderer.render, encode_chat and drop_oldest."""

    add_generation_prompt: bool
    continue_final_message: bool
    template_kwargs: dict[str, Any] | None
    tools: list[dict[str, Any]] | None
    tool_format: str
    turns: str


async def plan_chat(services: Services, served: ServedModel, data: ChatCompletionRequest, info: EngineInfo) -> Plan:
    """Raises InvalidRequest."""
    bound = _max_tokens(data)
    max_tokens = info.max_model_len if bound is None else bound
    form = await plan_form(services, served, data)
    sampling = to_sampling(data, served.renderer, max_tokens=max_tokens, logprobs=_logprobs(data))
    n = num_choices(data, services.settings.max_n)
    messages = to_template_messages(data.messages, max_tool_output=services.settings.max_tool_output)
    options = template_options(data, served, form.told, data.reasoning_effort)
    prompt, num_dropped = await _encode(services, served, data, info, messages, options, bound)
    answer = await _in_thread(data, lambda: form.finish(prompt, is_continued=bool(data.continue_final_message)))
    return Plan(
        served=served,
        prompts=[prompt],
        sampling=msgspec.structs.replace(sampling, grammar=answer.grammar),
        n=n,
        seeded=True,
        stop=stop_strings(data),
        skip_special_tokens=data.skip_special_tokens is not False,
        priority=data.priority or 0,
        cache_salt=data.cache_salt or "",
        id=new_id("chatcmpl"),
        num_dropped_messages=num_dropped,
        check=answer.check,
        call_checks=answer.call_checks,
        create_parser=answer.create_parser,
        shown_ids=answer.shown_ids,
        tools=tuple(tool.function.name for tool in data.tools or [] if tool.function is not None),
        returns_ids=bool(data.return_token_ids),
    )


async def plan_form(services: Services, served: ServedModel, data: ChatCompletionRequest) -> FormPlan:
    """Raises InvalidRequest."""
    grammar = await plan_grammar(services, served, data)
    tools = await _in_thread(data, lambda: plan_tools(data, services.settings.max_tools))
    if tools is not None:
        refuse_together(data)
        services.metrics.count_grammar(served.base_id, "tools")
    return await _in_thread(data, lambda: FormPlan(served, tools, grammar))


async def _in_thread(data: ChatCompletionRequest, build: Callable[[], T]) -> T:
    """Where there are tools: their schemas are read in the guarded process, which blocks."""
    return await shared_guard().in_thread(build) if data.tools else build()


async def encode_chat(
    services: Services, served: ServedModel, messages: Sequence[Mapping[str, Any]], options: TemplateOptions
) -> list[int]:
    """Off the event loop when there is much text."""
    size = count_chars(messages) + count_chars(options["tools"] or [])
    return await services.pool.run(size, lambda: served.renderer.encode_chat(messages, **options))


def template_options(
    data: ChatCompletionRequest | PromptFields,
    served: ServedModel,
    tools: Sequence[Tool] = (),
    reasoning_effort: str | None = None,
) -> TemplateOptions:
    """tools: what the model is told of."""
    if data.continue_final_message and data.add_generation_prompt:
        raise InvalidRequest(
            "continue_final_message and add_generation_prompt exclude each other.",
            param="continue_final_message",
            code="invalid_value",
        )
    kwargs = dict(data.chat_template_kwargs or {})
    if reasoning_effort is not None:
        kwargs = {**_reasoning_variables(reasoning_effort, served.renderer.template_variables), **kwargs}
    return TemplateOptions(
        add_generation_prompt=data.add_generation_prompt is not False and not data.continue_final_message,
        continue_final_message=bool(data.continue_final_message),
        template_kwargs=kwargs or None,
        tools=[tool.for_template for tool in tools] or None,
        tool_format=served.tool_format,
        turns=served.turns,
    )


def _reasoning_variables(effort: str, known: frozenset[str]) -> dict[str, Any]:
    """Templates know efforts as reasoning_effort, or thinking as something to be switched off; most know neither."""
    if "reasoning_effort" in known:
        return {"reasoning_effort": effort}
    if effort == "none":
        return {"enable_thinking": False}
    raise InvalidRequest(
        f"reasoning_effort can't be {effort!r}: this model's chat template doesn't read it; send none or leave it out.",
        param="reasoning_effort",
        code="unsupported_value",
    )


def _max_tokens(data: ChatCompletionRequest) -> int | None:
    """None: all the room that the prompt leaves."""
    if data.max_completion_tokens is not None:
        return data.max_completion_tokens
    if data.max_tokens == 0:
        raise InvalidRequest("max_tokens must be at least 1.", param="max_tokens", code="invalid_value")
    return None if data.max_tokens == ALL_ROOM else data.max_tokens


def _logprobs(data: ChatCompletionRequest) -> int | None:
    if data.top_logprobs is not None and not data.logprobs:
        raise InvalidRequest("top_logprobs needs logprobs: true.", param="top_logprobs", code="invalid_value")
    return (data.top_logprobs or 0) if data.logprobs else None


async def _encode(
    services: Services,
    served: ServedModel,
    data: ChatCompletionRequest,
    info: EngineInfo,
    messages: list[Message],
    options: TemplateOptions,
    bound: int | None,
) -> tuple[list[int], int]:
    """The prompt's ids, and how many messages were dropped to make it fit."""
    prompt = await encode_chat(services, served, messages, options)
    num_dropped = 0
    if len(prompt) >= info.max_model_len and (data.on_overflow or services.settings.on_overflow) == "drop_oldest":
        room = min(MIN_ANSWER_ROOM if bound is None else bound, max(info.max_model_len // 4, 1))
        kept, num_dropped = await services.pool.run(
            count_chars(messages),
            lambda: served.renderer.drop_oldest(messages, info.max_model_len - room, **options),
        )
        prompt = await encode_chat(services, served, kept, options)
    remedy = 'Shorten the messages, or send "on_overflow": "drop_oldest" to leave out the oldest turns.'
    check_room(len(prompt), 1, info, param="messages", remedy=remedy)
    if not prompt:
        raise InvalidRequest("The messages render to nothing.", param="messages", code="invalid_value")
    return prompt, num_dropped
