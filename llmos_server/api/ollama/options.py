"""Ollama's options, format and think in the words of a chat completion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmos_server.api.bodies.unknown_fields import tell_unknown
from llmos_server.api.generation.sampling import ALL_ROOM
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.schemas.ollama import OllamaGenerationFields, OllamaOptions
from llmos_server.api.schemas.structured import JsonSchemaFormat, ResponseFormat
from llmos_server.api.served import ServedModel
from llmos_server.errors import InvalidRequest

DEFAULTS: Mapping[str, Any] = {"temperature": 0.8, "top_k": 40, "top_p": 0.9}
"""Ollama's own, which its clients expect. Not its repeat_penalty, which is over a window of 64 tokens there."""

LEVELS = ("low", "medium", "high", "max")
THINKING_SWITCH = "enable_thinking"


def read_options(request: AnyRequest, options: OllamaOptions | None) -> dict[str, Any]:
    """As fields that chat completions and completions share. Raises InvalidRequest."""
    options = options or OllamaOptions()
    if options.num_predict == 0:
        raise InvalidRequest(
            "options.num_predict is 0; send at least 1, or -1 for all the room that there is. A request without a "
            "prompt loads the model.",
            param="options.num_predict",
            code="invalid_value",
        )
    names = ("seed", "temperature", "top_k", "top_p", "min_p", "stop", "presence_penalty", "frequency_penalty")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    return {
        **DEFAULTS,
        **given,
        "max_tokens": options.num_predict if options.num_predict and options.num_predict > 0 else ALL_ROOM,
        "repetition_penalty": _repetition_penalty(request, options),
    }


def _repetition_penalty(request: AnyRequest, options: OllamaOptions) -> float | None:
    penalty, window = options.repeat_penalty, options.repeat_last_n
    if window == 0:
        return None
    if window is not None and window > 0 and penalty not in (None, 1):
        tell_unknown(request, ["options.repeat_last_n"])
    return penalty


def read_format(wanted: str | dict[str, Any] | None) -> ResponseFormat | None:
    """Raises InvalidRequest."""
    if isinstance(wanted, dict):
        return ResponseFormat(type="json_schema", json_schema=JsonSchemaFormat(schema=wanted))
    if wanted == "json":
        return ResponseFormat(type="json_object")
    if wanted:
        raise InvalidRequest(
            'format: send "json", or a JSON Schema as an object.', param="format", code="invalid_value"
        )
    return None


def read_think(request: AnyRequest, served: ServedModel, think: bool | str | None) -> dict[str, Any]:
    """As fields of a chat completion. Raises InvalidRequest for what this model can't do."""
    if think is None:
        return {}
    known = served.renderer.template_variables
    reasons = served.renderer.reasoning_markers(served.reasoning) is not None
    if think is False:
        if "reasoning_effort" in known or THINKING_SWITCH in known:
            return {"reasoning_effort": "none"}
        if reasons:  # It thinks all the same.
            tell_unknown(request, ["think"])
        return {}
    if think is True:
        if not reasons:
            raise _refusal(f"{served.id} doesn't think; leave it out, or send false")
        return {"chat_template_kwargs": {THINKING_SWITCH: True}} if THINKING_SWITCH in known else {}
    if think not in LEVELS:
        raise _refusal(f"send true, false or a level: {', '.join(LEVELS)}")
    if "reasoning_effort" not in known:
        raise _refusal(f"the chat template of {served.id} knows no levels; send true or false")
    return {"reasoning_effort": think}


def read_logprobs(data: OllamaGenerationFields) -> int | None:
    """How many alternatives; None for no log-probabilities. Raises InvalidRequest."""
    if data.top_logprobs is not None and not data.logprobs:
        raise InvalidRequest("top_logprobs needs logprobs: true.", param="top_logprobs", code="invalid_value")
    return (data.top_logprobs or 0) if data.logprobs else None


def _refusal(reason: str) -> InvalidRequest:
    return InvalidRequest(f"think: {reason}.", param="think", code="unsupported_value")
