"""Whether a finished answer matches its schema: for what no grammar can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import msgspec

from llmos_server.chat.deltas import TextDelta
from llmos_server.chat.guarded import TooComplex, shared_guard
from llmos_server.chat.schema_paths import Schema, at, invalid

PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=50_000)
"""Look-around and back-references are what answers are checked for afterwards; they may take exponential time."""


def check_schema(schema: Schema, param: str) -> None:
    """Raises InvalidRequest, which names the place, for what is no JSON Schema."""
    try:
        _validator(schema)
    except jsonschema_rs.ValidationError as error:
        raise invalid(param, at("", *error.instance_path), error.message[:300].rstrip(".")) from None


def explain_mismatch(schema: Schema, text: str) -> str | None:
    """What is wrong with an answer, by its place ("parts.0: ..."); None if nothing is. May take for ever."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return f"it is no JSON: {error}"
    for mismatch in _validator(schema).iter_errors(value):
        place = at("", *mismatch.instance_path)
        return f"{place}: {mismatch.message[:300]}" if place else mismatch.message[:300]
    return None


UNCHECKED = "it can't be checked: the schema is too complex for such an answer"


def explain_within_bounds(schema: Schema, text: str) -> str | None:
    """explain_mismatch in the guarded process: there are schemas and answers for which it never ends. Blocks."""
    try:
        return shared_guard().call(explain_mismatch, schema, text)
    except TooComplex:
        return UNCHECKED


class AnswerCheck:
    """Of one choice, text after text. schema: of its text; calls: of its tool calls' arguments, by the function's name.
    Answers that are tool calls have no form."""

    def __init__(self, schema: Schema | None, calls: Mapping[str, Schema] | None = None) -> None:
        self._schema = schema
        self._call_schemas = dict(calls or {})
        self._texts: list[str] = []
        self._calls: list[tuple[str, list[str]]] = []

    async def feed(self, text: TextDelta) -> TextDelta:
        """The same; the last one of an answer that has ended by itself says what is wrong with it, if anything is."""
        if self._schema is None and not self._call_schemas:
            return text
        self._texts.append(text.text)
        for call in text.calls:
            if call.name:
                self._calls.append((call.name, []))
            self._calls[-1][1].append(call.arguments)
        if text.finish_reason != "stop" or text.format_error is not None:
            return text
        error = await (self._explain_calls() if text.has_calls else self._explain_text())
        return text if error is None else msgspec.structs.replace(text, format_error=error)

    async def _explain_text(self) -> str | None:
        if self._schema is None:
            return None
        return await shared_guard().in_thread(explain_within_bounds, self._schema, "".join(self._texts))

    async def _explain_calls(self) -> str | None:
        for place, (name, arguments) in enumerate(self._calls):
            schema = self._call_schemas.get(name)
            if schema is None:
                continue
            error = await shared_guard().in_thread(explain_within_bounds, schema, "".join(arguments))
            if error is not None:
                return f"tool_calls.{place}.function.arguments: {error}"
        return None


def _validator(schema: Schema) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        schema, validate_formats=True, retriever=_refuse_to_fetch, pattern_options=PATTERNS
    )


def _refuse_to_fetch(uri: str) -> Any:
    raise ValueError("schemas aren't fetched")
