"""response_format and structured_outputs: what an answer has to be, as one grammar."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
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
from llmos_server.errors import InvalidRequest

FORMATS = "text, json_object or json_schema"
NUM_KEPT = 64
"""JSON grammars that are kept, the last used ones: programs send the same schema again and again."""


class Wanted(NamedTuple):
    """One constraint of a request."""

    kind: str
    """For the metrics."""
    size: int
    """In characters, about."""
    build: Callable[[], Grammar]
    """Raises InvalidRequest."""


async def plan_grammar(services: Services, served: ServedModel, data: GenerationFields) -> Grammar | None:
    """None for an answer of any form; off the event loop when it is long. Raises InvalidRequest."""
    wanted = [*_from_format(data.response_format), *_from_outputs(data.structured_outputs)]
    if not wanted:
        return None
    if len(wanted) > 1:
        raise _refusal("structured_outputs", "response_format names a form already; send one of the two")
    if data.ignore_eos:
        raise _refusal("ignore_eos", "an answer of a given form ends where the form does; leave ignore_eos out")
    [(kind, size, build)] = wanted
    grammar = await services.pool.run(size, build)
    services.metrics.count_grammar(served.id, kind)
    return grammar


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
        wanted.append(Wanted("regex", len(pattern), lambda: regex_grammar(pattern, param=f"{param}.regex")))
    if (choices := wire.choice) is not None:
        size = sum(map(len, choices))
        wanted.append(Wanted("choice", size, lambda: choice_grammar(choices, param=f"{param}.choice")))
    if (text := wire.grammar) is not None:
        wanted.append(Wanted("grammar", len(text), lambda: lark_grammar(text, param=f"{param}.grammar")))
    if len(wanted) != 1:
        raise _refusal(
            param, f"it names {len(wanted)} constraints; send one of json, regex, choice, grammar, json_object"
        )
    return wanted


def _json(kind: str, schema: Any, *, strict: bool, param: str) -> Wanted:
    text = msgspec.json.encode(schema)
    return Wanted(kind, len(text), lambda: _kept_json_grammar(text, strict, param))


@lru_cache(NUM_KEPT)
def _kept_json_grammar(text: bytes, strict: bool, param: str) -> Grammar:
    return json_grammar(msgspec.json.decode(text), strict=strict, param=param)


def _decoded(text: str, param: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _refusal(param, f"the text is no JSON ({error}); send the schema as an object") from None


def _refusal(param: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{param}: {reason}.", param=param, code="invalid_value")


def _missing(param: str) -> InvalidRequest:
    return InvalidRequest(f"{param} is missing.", param=param, code="missing_required_parameter")
