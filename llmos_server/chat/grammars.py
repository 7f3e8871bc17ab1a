"""What a client wants an answer to be, as a grammar's text (SamplingParams.grammar), checked before an engine sees it.

All of it runs in the guarded process, and blocks: call it in a thread. A grammar may combine what it is made of: free
text, tokens by their ids (`<[7]>`) and JSON schemas, in llguidance's Lark (see `schema_for_lark`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper, grammar_from

from llmos_server.chat.guarded import guarded
from llmos_server.chat.json_schema import Unheld, ready_schema, summarize
from llmos_server.chat.open_names import any_open_names, close_names
from llmos_server.chat.schema_paths import Schema, at, children, invalid
from llmos_server.errors import InvalidRequest

MAX_CHARS = 131_072
"""Of a grammar's text. Compiling as much takes up to half a second of a thread."""
MAX_CHOICES = 2048
LIMITS = LLParserLimits(initial_lexer_fuel=250_000, verbose_errors=False)
"""The first is the engine's."""
NUM_TOKEN_IDS = 2**19
"""More than any model has."""
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


@guarded
def json_grammar(schema: Any, *, strict: bool, param: str) -> Grammar:
    """strict: refuse, by its path, what a grammar can't hold; else it is left to `check`. param: the request field that
    holds the schema. Raises InvalidRequest for what is no schema, matches nothing or is too large, too."""
    held = grammar_schema(schema, strict=strict, param=param)
    return Grammar(text=_built(_bounded(_json_text(held.schema), param), param), check=held.check)


@guarded
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
            closed = close_names(held)
            if not messages and trial.validate(closed) == (False, []):
                held = closed
            is_held = not unheld and not messages and not any_open_names(held)
            return GrammarSchema(held, None if is_held else ready.full)
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


@guarded
def choice_grammar(choices: Sequence[str], *, param: str) -> Grammar:
    """One of these texts."""
    if not choices or len(choices) > MAX_CHOICES or not all(choices):
        raise invalid(param, "", f"send 1 to {MAX_CHOICES} texts, none of them empty", code="invalid_value")
    return lark_grammar(f"start: {' | '.join(json.dumps(choice) for choice in dict.fromkeys(choices))}", param=param)


@guarded
def regex_grammar(pattern: str, *, param: str) -> Grammar:
    """The whole answer matches the regular expression, which has no look-around and no back-references."""
    return _checked(LLMatcher.grammar_from_regex(pattern), param)


@guarded
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
    return Grammar(text=_built(text, param))


def _built(text: str, param: str) -> str:
    """As the engine does: what takes too long takes it here."""
    matcher = LLMatcher(_byte_tokenizer(), text, log_level=0, limits=LIMITS)
    if not matcher.is_error():
        matcher.compute_bitmask()
    if matcher.is_error():
        raise _unusable(param, matcher.get_error())
    return text


@cache
def _byte_tokenizer() -> LLTokenizer:
    """The id of any model's token is one of its own, so that grammars may name them."""
    return LLTokenizer(TokenizerWrapper(_Bytes()))


class _Bytes:
    eos_token_id, bos_token_id = 256, None
    tokens = [*(bytes([byte]) for byte in range(256)), b"<end>", *[b""] * (NUM_TOKEN_IDS - 257)]
    special_token_ids = [256]

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


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
