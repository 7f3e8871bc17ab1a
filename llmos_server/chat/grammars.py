"""What a client wants an answer to be, as a grammar's text (SamplingParams.grammar), checked before an engine sees it.

Everything here costs at most some 0.2 s of a core and runs in a text thread when it is long. A grammar may combine what
it is made of: free text, special tokens and JSON schemas, in llguidance's Lark (see `schema_for_lark`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llguidance import LLMatcher, LLParserLimits, grammar_from

from llmos_server.chat.json_schema import Unheld, ready_schema, summarize
from llmos_server.chat.schema_paths import Schema, at, children, invalid
from llmos_server.errors import InvalidRequest

MAX_CHARS = 131_072
"""Of a grammar's text. Compiling as much takes up to half a second of a thread."""
MAX_CHOICES = 2048
LIMITS = LLParserLimits(verbose_errors=False)
FORM = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
"""JSON on one line, with a space or none behind separators: any whitespace lets small models write it without end, none
at all isn't how they have learnt to write."""
MAX_SEARCHED = 500_000
"""Characters of grammars that are tried to find out what is wrong with a schema: about a second of a thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """Goes into SamplingParams, and to answer_check."""

    text: str
    check: Schema | None = None
    """What a finished answer has to match besides: there is more in the schema than the grammar holds."""


@dataclass(frozen=True, slots=True)
class GrammarSchema:
    """A schema that a grammar can hold."""

    schema: Schema
    check: Schema | None
    """The whole of it, if that is more."""


ANY_OBJECT = {"type": "object"}


def json_grammar(schema: Any, *, strict: bool, param: str) -> Grammar:
    """strict: refuse, by its path, what a grammar can't hold; else it is left to `check`. param: the request field that
    holds the schema. Raises InvalidRequest for what is no schema, matches nothing or is too large, too."""
    held = grammar_schema(schema, strict=strict, param=param)
    return Grammar(text=_bounded(_json_text(held.schema), param), check=held.check)


def grammar_schema(schema: Any, *, strict: bool, param: str) -> GrammarSchema:
    """The same for a part of a larger grammar; see schema_for_lark."""
    ready = ready_schema(schema, param)
    unheld = list(ready.unheld)
    if strict and unheld:
        raise _refuse(unheld[0], param)
    held = ready.held
    _bounded(json.dumps(ready.full), param)
    trial = _Trial(lenient=not strict)
    while True:
        is_error, messages = trial.validate(held)
        if not is_error:
            return GrammarSchema(held, ready.full if unheld or messages else None)
        keys, message = trial.find_fault(held, messages[0])
        fault = Unheld(at("", *keys), summarize(message))
        if not keys or "nsatisfiable" in message or "too large" in message or trial.is_over:
            raise invalid(param, fault.path, fault.reason)
        if strict:
            raise _refuse(fault, param)
        unheld.append(fault)
        held = _without(held, keys)


def schema_for_lark(held: GrammarSchema) -> str:
    """For llguidance's Lark: `%json` and this."""
    return json.dumps({**held.schema, "x-guidance": {**FORM, "lenient": True}})


def choice_grammar(choices: Sequence[str], *, param: str) -> Grammar:
    """One of these texts."""
    if not choices or len(choices) > MAX_CHOICES or not all(choices):
        raise invalid(param, "", f"send 1 to {MAX_CHOICES} texts, none of them empty", code="invalid_value")
    return lark_grammar(f"start: {' | '.join(json.dumps(choice) for choice in dict.fromkeys(choices))}", param=param)


def regex_grammar(pattern: str, *, param: str) -> Grammar:
    """The whole answer matches the regular expression, which has no look-around and no back-references."""
    return _checked(LLMatcher.grammar_from_regex(pattern), param)


def lark_grammar(text: str, *, param: str) -> Grammar:
    """llguidance's Lark, whose rule `start` is the answer; or GBNF, llama.cpp's, whose rule is `root`."""
    try:
        return _checked(grammar_from("grammar", text), param)
    except ValueError as error:
        raise _unusable(param, str(error)) from None


def _checked(text: str, param: str) -> Grammar:
    is_error, messages = _validate(_bounded(text, param))
    if is_error:
        raise _unusable(param, messages[0])
    return Grammar(text=text)


def _unusable(param: str, message: str) -> InvalidRequest:
    return invalid(param, "", f"the grammar can't be used: {summarize(message)}", code="invalid_grammar")


def _bounded(text: str, param: str) -> str:
    if len(text) > MAX_CHARS:
        raise invalid(
            param, "", f"it comes to {len(text)} characters; at most {MAX_CHARS} are taken", code="invalid_value"
        )
    return text


def _json_text(schema: Schema, *, lenient: bool = True) -> str:
    return LLMatcher.grammar_from_json_schema({**schema, "x-guidance": {**FORM, "lenient": lenient}})


def _validate(text: str) -> tuple[bool, list[str]]:
    """Whether it is wrong, and why; else what is left out."""
    return LLMatcher.validate_grammar_with_warnings(text, limits=LIMITS)


def _refuse(unheld: Unheld, param: str) -> InvalidRequest:
    remedy = "leave it out, or send strict: false to have the answer checked against it afterwards"
    return invalid(param, unheld.path, f"{unheld.reason}; {remedy}", code="unsupported_schema")


class _Trial:
    """Schemas given to the parser until it is known which part it doesn't take. Its own errors name no place."""

    def __init__(self, *, lenient: bool) -> None:
        self._lenient = lenient
        self._num_chars = 0

    @property
    def is_over(self) -> bool:
        return self._num_chars > MAX_SEARCHED

    def validate(self, schema: Schema) -> tuple[bool, list[str]]:
        text = _json_text(schema, lenient=self._lenient)
        self._num_chars += len(text)
        return _validate(text)

    def find_fault(self, root: Schema, message: str) -> tuple[list[str | int], str]:
        """The innermost schema that is a fault by itself, and the parser's words for it. message: for the root."""
        definitions = {key: root[key] for key in ("$defs", "definitions") if key in root}
        keys: list[str | int] = []
        here: Any = root
        while True:
            # Definitions first: else the fault is found where they are referred to.
            for step, child in sorted(children(here), key=lambda item: item[0][0] not in definitions):
                alone = {**definitions, **child} if isinstance(child, dict) and not self.is_over else {}
                is_error, messages = self.validate(alone)
                if is_error:
                    keys += step
                    here, message = child, messages[0]
                    break
            else:
                return keys, message


def _without(root: Schema, keys: list[str | int]) -> Schema:
    """A copy with anything allowed at this place."""
    made: Any = json.loads(json.dumps(root))
    place = made
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = True
    return made  # type: ignore[no-any-return]
