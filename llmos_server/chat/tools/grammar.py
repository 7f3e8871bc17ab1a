"""Tools to a grammar: text until a format's begin marker, and then nothing but calls that match their schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from llmos_server.chat.grammars import Grammar, lark_grammar
from llmos_server.chat.tools.format import BARE, Calls
from llmos_server.chat.tools.formats import FORMATS

NUM_KEPT = 64
"""Grammars that are kept, the last used ones: agents send the same tools again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsWanted:
    """What an answer may, or must, call."""

    format: str
    tools: tuple[tuple[str, str], ...]
    """Name, and the arguments' schema as grammars.schema_for_lark gives it."""
    is_required: bool
    """No text, but calls."""
    max_calls: int
    tokens: tuple[tuple[str, int], ...]
    """Markers that are tokens of this model."""
    form: str = ""
    """A JSON schema, written as for the tools: what an answer without calls has to be."""
    text_begins_no: str = ""
    """A marker that text doesn't begin with, nor with space, as they begin something else: reasoning."""


def speller(tokens: Mapping[str, int]) -> Callable[[str], str]:
    """A marker in Lark. Where it is a token, the parser may know it as such or as text, depending on the tokenizer."""

    def spell(marker: str) -> str:
        text = json.dumps(marker)
        return f"({text} | <[{tokens[marker]}]>)" if marker in tokens else text

    return spell


@lru_cache(NUM_KEPT)
def calls_grammar(wanted: CallsWanted, param: str) -> Grammar:
    """Raises InvalidRequest for what is too large together, or can't be followed."""
    form = FORMATS[wanted.format]
    tokens = dict(wanted.tokens)
    calls = Calls(tuple(name for name, _ in wanted.tools), min(wanted.max_calls, form.max_calls), speller(tokens))
    rules = [_required(wanted, calls) if wanted.is_required or wanted.form else _free(wanted, tokens)]
    rules += [form.rules(calls), *(f"arguments_{i}: %json {schema}" for i, (_, schema) in enumerate(wanted.tools))]
    return lark_grammar("\n".join(["%llguidance {}", *rules]), param=param)


def _required(wanted: CallsWanted, calls: Calls) -> str:
    form = FORMATS[wanted.format]
    begin = f"({' | '.join(map(calls.spell, form.begins))})"
    if not wanted.form or wanted.is_required:
        return f"start: {begin}{'?' if form.is_bare else ''} calls"
    return f"start: form | {begin} calls\nform: %json {wanted.form}"


def _free(wanted: CallsWanted, tokens: Mapping[str, int]) -> str:
    """The lexemes' rest follows the longest match, so that what isn't text mustn't match as text."""
    form = FORMATS[wanted.format]
    begins = "|".join(map(regex, form.begins))
    unlike = [rf"{BARE}(?s:.*)"] if form.is_bare else []
    unlike += [r"\s(?s:.*)", rf"{regex(wanted.text_begins_no)}(?s:.*)"] if wanted.text_begins_no else []
    other = "".join(f" & ~/{pattern}/" for pattern in unlike)
    by_token = "".join(f" | TEXT? <[{tokens[begin]}]>" for begin in form.begins if begin in tokens)
    return f"""start: TEXT? | opening calls{" | calls" if form.is_bare else ""}
opening: to_begin{by_token}
to_begin[lazy]: TO_BEGIN
TO_BEGIN: /(?s:.*)(?:{begins})/{other}
TEXT: /(?s:.+)/ & ~/(?s:.*)(?:{begins})(?s:.*)/{other}"""


def regex(marker: str) -> str:
    """For a pattern between slashes."""
    return re.escape(marker).replace("/", r"\/")
