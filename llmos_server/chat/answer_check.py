"""Whether a finished answer matches its schema: for what no grammar can hold."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec

from llmos_server.chat.deltas import TextDelta
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
    """What is wrong with an answer, by its place ("parts.0: ..."); None if nothing is."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return f"it is no JSON: {error}"
    for mismatch in _validator(schema).iter_errors(value):
        place = at("", *mismatch.instance_path)
        return f"{place}: {mismatch.message[:300]}" if place else mismatch.message[:300]
    return None


class AnswerCheck:
    """Of one choice, text after text. schema: None checks nothing. Answers that are tool calls have no form."""

    def __init__(self, schema: Schema | None) -> None:
        self._schema = schema
        self._texts: list[str] = []

    def feed(self, text: TextDelta) -> TextDelta:
        """The same; the last one of an answer that has ended by itself says what is wrong with it, if anything is."""
        if self._schema is None:
            return text
        self._texts.append(text.text)
        if text.finish_reason != "stop" or text.has_calls or text.format_error is not None:
            return text
        return msgspec.structs.replace(text, format_error=explain_mismatch(self._schema, "".join(self._texts)))


def _validator(schema: Schema) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        schema, validate_formats=True, retriever=_refuse_to_fetch, pattern_options=PATTERNS
    )


def _refuse_to_fetch(uri: str) -> Any:
    raise ValueError("schemas aren't fetched")
