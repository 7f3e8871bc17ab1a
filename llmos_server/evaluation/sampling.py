"""An answer for an item: asked of a model, or given with the item."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.asking import Models, TokenUsage, shown_usage, usage_of
from llmos_server.evaluation.graders.messages import MessageTemplates
from llmos_server.evaluation.graders.spec import Message
from llmos_server.evaluation.grading import sample_of
from llmos_server.evaluation.sources import (
    DEFAULT_MAX_TOKENS,
    DEFAULT_SEED,
    DEFAULT_TEMPERATURE,
    Completions,
    CompletionSampling,
    DataSource,
    InputMessages,
    Jsonl,
    Responses,
    ResponseSampling,
    Row,
    StoredResponses,
    TemplateMessages,
)
from llmos_server.evaluation.stored import calls_of, finish_reason, text_of
from llmos_server.evaluation.templates import MissingVariable, Path

WHERE = "data_source.input_messages"
NO_USAGE = {"total_tokens": 0, "completion_tokens": 0, "prompt_tokens": 0, "cached_tokens": 0}


class Sampled(msgspec.Struct, frozen=True, kw_only=True):
    values: dict[str, Any]
    """The namespace `sample`."""
    shown: dict[str, Any]
    """OpenAI's object: input, output, finish_reason, model, usage ... and `confidence`, the probability that the model
    gave its whole answer."""
    usage: tuple[TokenUsage, ...] = ()


class Sampler(Protocol):
    async def sample(self, row: Row) -> Sampled:
        """Raises ModelRefused, and InvalidRequest for an item that can't be asked with."""
        ...


def create_sampler(source: DataSource, models: Models) -> Sampler:
    """Raises InvalidRequest that names the field."""
    match source:
        case Jsonl():
            return GivenAnswers()
        case Completions():
            return CompletionSampler(source, models)
        case Responses(model=None, input_messages=None, sampling_params=None, source=StoredResponses()):
            return StoredAnswers()
        case Responses():
            return ResponseSampler(source, models)


class GivenAnswers:
    async def sample(self, row: Row) -> Sampled:
        values = {"output_text": "", **(row.sample or {})}
        if not isinstance(values["output_text"], str):
            raise InvalidRequest("sample.output_text is a text.", param="sample.output_text")
        values = {**sample_of(values["output_text"]), **values}
        output = [{"role": "assistant", "content": values["output_text"]}]
        return Sampled(values=values, shown={**_shown_sampling({}), "output": output, "finish_reason": "stop"})


class StoredAnswers:
    """Of responses, as they were given."""

    async def sample(self, row: Row) -> Sampled:
        found = row.sample or {}
        text = found.get("output_text", "")
        told = {name: value for name, value in found.items() if not name.startswith("output_")}
        output = [{"role": "assistant", "content": text}]
        shown = {**_shown_sampling({}), **told, "input": row.item["input"], "output": output}
        return Sampled(values={**sample_of(text), **found}, shown=shown)


class CompletionSampler:
    def __init__(self, source: Completions, models: Models) -> None:
        self._models = models
        self._messages = create_messages(source.input_messages)
        sampling = source.sampling_params or CompletionSampling()
        self._body = {
            "model": source.model,
            "temperature": DEFAULT_TEMPERATURE if sampling.temperature is None else sampling.temperature,
            "top_p": 1.0 if sampling.top_p is None else sampling.top_p,
            "seed": DEFAULT_SEED if sampling.seed is None else sampling.seed,
            "max_completion_tokens": sampling.max_completion_tokens or DEFAULT_MAX_TOKENS,
            "reasoning_effort": sampling.reasoning_effort,
            "response_format": sampling.response_format,
            "tools": sampling.tools or None,
            "logprobs": True,
        }

    async def sample(self, row: Row) -> Sampled:
        messages = self._messages(row)
        answer = await self._models.post("/v1/chat/completions", {**self._body, "messages": messages})
        choice, usage = answer["choices"][0], usage_of(answer)
        message = {name: value for name, value in choice["message"].items() if value is not None}
        calls = {"output_tools": message["tool_calls"]} if message.get("tool_calls") else {}
        shown = {
            **_shown_sampling(self._body),
            "input": messages,
            "output": [message],
            "finish_reason": choice["finish_reason"],
            "model": answer["model"],
            "usage": shown_usage(usage),
            "confidence": _confidence(choice),
        }
        values = sample_of(message.get("content") or "", model=answer["model"], choices=[choice], **calls)
        return Sampled(values=values, shown=shown, usage=(usage,))


class ResponseSampler:
    def __init__(self, source: Responses, models: Models) -> None:
        self._models = models
        model, messages = _asked(source)
        self._messages = create_messages(messages, can_be_items=True)
        sampling = source.sampling_params or ResponseSampling()
        effort = sampling.reasoning_effort
        self._body = {
            "model": model,
            "temperature": DEFAULT_TEMPERATURE if sampling.temperature is None else sampling.temperature,
            "top_p": 1.0 if sampling.top_p is None else sampling.top_p,
            "seed": DEFAULT_SEED if sampling.seed is None else sampling.seed,
            "max_output_tokens": sampling.max_completion_tokens or DEFAULT_MAX_TOKENS,
            "reasoning": None if effort is None else {"effort": effort},
            "text": sampling.text,
            "tools": sampling.tools or None,
            "store": False,
        }

    async def sample(self, row: Row) -> Sampled:
        messages = self._messages(row)
        answer = await self._models.post("/v1/responses", {**self._body, "input": messages})
        usage, output = usage_of(answer), answer["output"]
        text, calls = text_of(output), calls_of(output)
        shown = {
            **_shown_sampling({**self._body, "max_completion_tokens": self._body["max_output_tokens"]}),
            "input": messages,
            "output": [{"role": "assistant", "content": text}],
            "finish_reason": finish_reason(answer),
            "model": answer["model"],
            "usage": shown_usage(usage),
        }
        more = {"output_tools": calls} if calls else {}
        return Sampled(values=sample_of(text, model=answer["model"], **more), shown=shown, usage=(usage,))


def create_messages(wanted: InputMessages, *, can_be_items: bool = False) -> Callable[[Row], list[dict[str, Any]]]:
    """What makes an item into messages. can_be_items: of other types, too, as /v1/responses takes them. Raises
    InvalidRequest."""
    if isinstance(wanted, TemplateMessages):
        templates = MessageTemplates(wanted.template, f"{WHERE}.template")
        if "sample" in templates.roots:
            raise InvalidRequest(
                f"{WHERE}.template: there is no sample before the model has answered; it can name item alone.",
                param=f"{WHERE}.template",
                code="invalid_template",
            )
        return lambda row: templates.render({"item": row.item})
    path = Path(wanted.item_reference, f"{WHERE}.item_reference")
    return lambda row: _read_messages(path, {"item": row.item}, can_be_items)


def errored(source: DataSource, error: Exception) -> dict[str, Any]:
    """Shown in a sample's place where there is none."""
    sampling = {} if isinstance(source, Jsonl) else msgspec.to_builtins(source.sampling_params or CompletionSampling())
    told = {"code": getattr(error, "code", None) or "error", "message": str(error)}
    return {**_shown_sampling(sampling), "finish_reason": "error", "error": told}


def _asked(source: Responses) -> tuple[str, InputMessages]:
    """Which model is asked what. Raises InvalidRequest."""
    if source.model is not None and source.input_messages is not None:
        return source.model, source.input_messages
    field = "model" if source.model is None else "input_messages"
    raise InvalidRequest(
        f"data_source.{field} is missing. Only stored responses, a source of the type responses, can be graded "
        "without asking a model: leave model, input_messages and sampling_params out then.",
        param=f"data_source.{field}",
        code="missing_required_parameter",
    )


def _read_messages(path: Path, values: Mapping[str, Any], can_be_items: bool) -> list[dict[str, Any]]:
    found = path.find(values)
    try:
        if can_be_items and any("role" not in item for item in msgspec.convert(found, list[dict[str, Any]])):
            return list(found)
        messages = msgspec.convert(found, list[Message])
    except msgspec.ValidationError as error:
        told = f"{{{{ {path.text} }}}} is no list of messages ({error})."
        raise MissingVariable(told, code="invalid_variable") from None
    return [{"role": message.role, "content": message.content} for message in messages]


def _shown_sampling(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "input": [],
        "output": [],
        "finish_reason": "",
        "model": body.get("model") or "",
        "usage": NO_USAGE,
        "error": None,
        "temperature": body.get("temperature"),
        "max_completion_tokens": body.get("max_completion_tokens"),
        "top_p": body.get("top_p"),
        "seed": body.get("seed"),
    }


def _confidence(choice: Mapping[str, Any]) -> float | None:
    entries = (choice.get("logprobs") or {}).get("content")
    return math.exp(math.fsum(entry["logprob"] for entry in entries)) if entries else None
