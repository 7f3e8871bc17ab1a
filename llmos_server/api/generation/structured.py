"""response_format and structured_outputs: what an answer has to be, as one grammar."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from llmos_server.api.schemas.common import GenerationFields
from llmos_server.api.schemas.structured import ResponseFormat, StructuredOutputs
from llmos_server.api.served import ServedModel
from llmos_server.api.services import Services
from llmos_server.chat.grammars import (
    ANY_OBJECT,
    Grammar,
    choice_grammar,
    json_grammar,
    lark_grammar,
    regex_grammar,
)
from llmos_server.chat.guarded import shared_guard
from llmos_server.errors import InvalidRequest

FORMATS = "text, json_object or json_schema"
NUM_KEPT = 256
"""Grammars that are kept, the last used ones: programs send the same schema again and again."""
_kept: OrderedDict[bytes, Grammar] = OrderedDict()
"""By a digest of what asks for it. For one event loop."""


class Wanted(NamedTuple):
    """One constraint of a request."""

    kind: str
    """For the metrics."""
    build: Callable[..., Grammar]
    """Of chat.grammars."""
    value: Any
    options: dict[str, Any]
    """Beside the value."""


async def plan_grammar(services: Services, served: ServedModel, data: GenerationFields) -> Grammar | None:
    """None for an answer of any form. Raises InvalidRequest."""
    wanted = [*_from_format(data.response_format), *_from_outputs(data.structured_outputs)]
    if not wanted:
        return None
    if len(wanted) > 1:
        raise _refusal("structured_outputs", "response_format names a form already; send one of the two")
    if data.ignore_eos:
        raise _refusal("ignore_eos", "an answer of a given form ends where the form does; leave ignore_eos out")
    grammar = await _find_or_build(wanted[0])
    services.metrics.count_grammar(served.base_id, wanted[0].kind)
    return grammar


async def _find_or_build(wanted: Wanted) -> Grammar:
    text = msgspec.json.encode([wanted.build.__name__, wanted.value, wanted.options])
    digest = hashlib.sha256(text).digest()
    if digest not in _kept:
        _kept[digest] = await shared_guard().in_thread(wanted.build, wanted.value, **wanted.options)
        while len(_kept) > NUM_KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(digest)
    return _kept[digest]


def _from_format(wire: ResponseFormat | None) -> list[Wanted]:
    if wire is None:
        return []
    if wire.type not in ("text", "json_object", "json_schema"):
        remedy = " (regex, choice and grammar go into structured_outputs)"
        raise _refusal("response_format.type", f"{wire.type[:40]!r} isn't supported; send {FORMATS}{remedy}")
    for name, kind in (("json_schema", "json_schema"), ("schema", "json_object")):
        if getattr(wire, name) is not None and wire.type != kind:
            raise _refusal(f"response_format.{name}", f"it goes with the type {kind}")
    if wire.type == "text":
        return []
    if wire.type == "json_object":
        schema = ANY_OBJECT if wire.schema is None else wire.schema
        return [_json("json_object", schema, strict=False, param="response_format.schema")]
    if wire.json_schema is None:
        raise _missing("response_format.json_schema")
    if wire.json_schema.schema is None:
        raise _missing("response_format.json_schema.schema")
    strict = bool(wire.json_schema.strict)
    return [_json("json_schema", wire.json_schema.schema, strict=strict, param="response_format.json_schema.schema")]


def _from_outputs(wire: StructuredOutputs | None) -> list[Wanted]:
    if wire is None:
        return []
    param = "structured_outputs"
    wanted: list[Wanted] = []
    if wire.json is not None:
        schema = _decoded(wire.json, f"{param}.json") if isinstance(wire.json, str) else wire.json
        wanted.append(_json("json_schema", schema, strict=True, param=f"{param}.json"))
    if wire.json_object:
        wanted.append(_json("json_object", ANY_OBJECT, strict=True, param=f"{param}.json_object"))
    if (pattern := wire.regex) is not None:
        wanted.append(Wanted("regex", regex_grammar, pattern, {"param": f"{param}.regex"}))
    if (choices := wire.choice) is not None:
        wanted.append(Wanted("choice", choice_grammar, choices, {"param": f"{param}.choice"}))
    if (text := wire.grammar) is not None:
        wanted.append(Wanted("grammar", lark_grammar, text, {"param": f"{param}.grammar"}))
    if len(wanted) != 1:
        raise _refusal(
            param, f"it names {len(wanted)} constraints; send one of json, regex, choice, grammar, json_object"
        )
    return wanted


def _json(kind: str, schema: Any, *, strict: bool, param: str) -> Wanted:
    return Wanted(kind, json_grammar, schema, {"strict": strict, "param": param})


def _decoded(text: str, param: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _refusal(param, f"the text is no JSON ({error}); send the schema as an object") from None


def _refusal(param: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{param}: {reason}.", param=param, code="invalid_value")


def _missing(param: str) -> InvalidRequest:
    return InvalidRequest(f"{param} is missing.", param=param, code="missing_required_parameter")
