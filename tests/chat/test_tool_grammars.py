"""What every format's grammar lets through, token by token, with a real parser and a tokenizer that has the markers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer
from tokenizers import AddedToken, Tokenizer

from llmos_server.chat.grammars import json_grammar
from llmos_server.chat.reasoning import STYLES, after_reasoning
from llmos_server.chat.tools.formats import FORMATS
from llmos_server.chat.tools.grammar import CallsWanted, calls_grammar
from llmos_server.chat.tools.tool import create_tool

MARKERS = sorted({marker for form in FORMATS.values() for marker in (*form.begins, *form.others)})
THINK = STYLES["think"]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [create_tool(name, None, CITY, strict=True, param="t") for name in ("w", "wide")]
NONE = create_tool("now", None, None, strict=True, param="t")
ROME = '{"city": "Rome"}'

ONE = {
    "hermes": f'<tool_call>\n{{"name": "w", "arguments": {ROME}}}\n</tool_call>',
    "granite": f'<|tool_call|>[{{"name": "w", "arguments": {ROME}}}]',
    "mistral": f'[TOOL_CALLS] [{{"name": "w", "arguments": {ROME}}}]',
    "mistral_args": f"[TOOL_CALLS]w[ARGS]{ROME}",
    "llama3": f'{{"name": "w", "parameters": {ROME}}}',
}
TWO = {
    "hermes": f'{ONE["hermes"]}\n<tool_call>{{"name": "wide", "arguments": {ROME}}}</tool_call>',
    "granite": f'<tool_call>[{{"name": "w", "arguments": {ROME}}}, {{"name": "wide", "arguments": {ROME}}}]',
    "mistral": f'[TOOL_CALLS][{{"name": "wide", "arguments": {ROME}}}, {{"name": "w", "arguments": {ROME}}}]',
    "mistral_args": f"[TOOL_CALLS]w[CALL_ID]abc123XYZ[ARGS]{ROME}[TOOL_CALLS]wide[ARGS]{ROME}",
}
WRONG = {
    "hermes": [
        "<tool_call>Rome",
        '<tool_call>{"name": "x"',
        '<tool_call>\n{"name": "w", "arguments": {"town"',
        "{TEXT}",
    ],
    "granite": ["<|tool_call|>no", "<tool_call>[]", '<tool_call>[{"name": "w", "arguments": 1', "{TEXT}"],
    "mistral": ["[TOOL_CALLS]w", "[TOOL_CALLS] []", '[TOOL_CALLS] [{"name": "v', "{TEXT}"],
    "mistral_args": ["[TOOL_CALLS] w", "[TOOL_CALLS]wi[ARGS]", "[TOOL_CALLS]w{", "[TOOL_CALLS]w[ARGS]{}", "{TEXT}"],
    "llama3": ['{"name": "x"', '{ "name"', "<|python_tag|>print", '{"type"', "{TEXT}"],
}
"""Begins that nothing may follow; {TEXT}: a whole call and a word."""


class Model:
    """A byte-level tokenizer to which the markers are tokens, or aren't."""

    def __init__(self, tokenizer: Tokenizer, markers: list[str], *, special: bool) -> None:
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.tokenizer.add_tokens([AddedToken(marker, special=special, normalized=False) for marker in markers])
        ids = {marker: self.tokenizer.token_to_id(marker) for marker in (*MARKERS, *THINK)}
        self.tokens = {marker: token_id for marker, token_id in ids.items() if token_id is not None}
        self._plain = Tokenizer.from_str(json.dumps({**json.loads(tokenizer.to_str()), "added_tokens": []}))
        self._grammars = LLTokenizer(self.tokenizer.to_str())

    def spells(self, text: str, *, as_tokens: bool) -> list[int]:
        tokenizer = self.tokenizer if as_tokens else self._plain
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def follow(self, grammar: str, text: str, *, as_tokens: bool = True) -> str:
        """no: it isn't let through; open: more has to come; whole: more may come; end: nothing may."""
        matcher = LLMatcher(self._grammars, grammar, log_level=0)
        assert not matcher.is_error(), matcher.get_error()
        if not all(matcher.consume_token(token) for token in self.spells(text, as_tokens=as_tokens)):
            return "no"
        return "end" if matcher.is_stopped() else "whole" if matcher.is_accepting() else "open"


@pytest.fixture(scope="module", params=["special", "added", "text"])
def model(request: pytest.FixtureRequest, byte_level: Tokenizer) -> Model:
    names = [] if request.param == "text" else [*MARKERS, *THINK]
    return Model(byte_level, names, special=request.param == "special")


def build(name: str, model: Model, **options: Any) -> str:
    wanted = CallsWanted(
        **{
            "format": name,
            "tools": tuple((tool.name, tool.lark) for tool in TOOLS),
            "is_required": False,
            "max_calls": 16,
            "tokens": tuple(model.tokens.items()),
            **options,
        }
    )
    return calls_grammar(wanted, "tools").text


@pytest.mark.parametrize("as_tokens", [True, False])
@pytest.mark.parametrize("name", FORMATS)
def test_text_or_calls_and_nothing_in_between(model: Model, name: str, as_tokens: bool) -> None:
    grammar = build(name, model)
    for text in ("", "Hello.", "a <tool [TOOL < {", '{"city": 1}', "{", "x" * 200):
        assert model.follow(grammar, text) == "whole", text
    ends = ("end" if name in ("granite", "mistral", "llama3") else "whole",)
    assert model.follow(grammar, ONE[name], as_tokens=as_tokens) in ends
    marked = ONE[name] if name != "llama3" else f"<|python_tag|>{ONE[name]}"
    assert model.follow(grammar, f"First\n{marked}", as_tokens=as_tokens) in ends
    if name in TWO:
        assert model.follow(grammar, TWO[name], as_tokens=as_tokens) in ends
    for wrong in WRONG[name]:
        assert model.follow(grammar, wrong.replace("{TEXT}", f"{ONE[name]} so"), as_tokens=as_tokens) == "no", wrong
    for end in range(len(marked) - 1, len(FORMATS[name].begins[-1]), -7):
        assert model.follow(grammar, marked[:end], as_tokens=as_tokens) in ("open", "no"), marked[:end]


@pytest.mark.parametrize("name", FORMATS)
def test_required_calls_leave_no_text(model: Model, name: str) -> None:
    grammar = build(name, model, is_required=True)
    assert model.follow(grammar, "") == "open"
    assert model.follow(grammar, "Hello") == "no"
    assert model.follow(grammar, ONE[name]) in ("whole", "end")
    named = build(name, model, is_required=True, tools=(("wide", TOOLS[1].lark),))
    assert model.follow(named, ONE[name]) == "no"
    assert model.follow(named, ONE[name].replace("w", "wide", 1)) in ("whole", "end")


@pytest.mark.parametrize("name", FORMATS)
def test_one_call_is_the_end_where_only_one_may_be(model: Model, name: str) -> None:
    for required in (False, True):
        grammar = build(name, model, max_calls=1, is_required=required)
        assert model.follow(grammar, ONE[name]) == "end"
        if name in TWO:
            assert model.follow(grammar, TWO[name]) == "no"


@pytest.mark.parametrize("name", FORMATS)
def test_a_tool_without_parameters_takes_an_empty_object(model: Model, name: str) -> None:
    grammar = build(name, model, is_required=True, tools=(("now", NONE.lark),))
    called = ONE[name].replace("w", "now", 1)
    assert model.follow(grammar, called.replace(ROME, "{}")) in ("whole", "end")
    assert model.follow(grammar, called) == "no"


@pytest.mark.parametrize("name", FORMATS)
def test_a_form_stands_beside_calls(model: Model, name: str) -> None:
    form = json.dumps(json.loads(json_grammar(CITY, strict=True, param="f").text)["grammars"][0]["json_schema"])
    grammar = build(name, model, form=form)
    assert model.follow(grammar, ROME) in ("whole", "end")
    marked = ONE[name] if name != "llama3" else f"<|python_tag|>{ONE[name]}"
    assert model.follow(grammar, marked) in ("whole", "end")
    assert model.follow(grammar, "Hello") == "no"


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("name", FORMATS)
def test_reasoning_comes_first_and_may_tell_of_calls(model: Model, name: str, is_open: bool) -> None:
    tokens = model.tokens
    for required in (False, True):
        inner = build(name, model, is_required=required, text_begins_no=THINK.begin)
        grammar = after_reasoning(inner, THINK, is_open=is_open, tokens=tokens)
        begin = "" if is_open else THINK.begin
        for as_tokens in (True, False):
            # As tokens they mean calls, everywhere.
            markers = "" if as_tokens and len(tokens) > 2 else "<tool_call> [TOOL_CALLS]"
            thought = f'{begin}\nIs {markers} {{"name" right?\n{THINK.end}\n\n'
            assert model.follow(grammar, thought + ONE[name], as_tokens=as_tokens) in ("whole", "end")
            assert model.follow(grammar, thought + "Yes", as_tokens=as_tokens) == ("no" if required else "whole")
        assert model.follow(grammar, f"{begin}hm") == "open"
        direct = model.follow(grammar, ONE[name])
        assert direct in (("open", "no") if is_open else ("whole", "end"))


@pytest.mark.parametrize("is_open", [True, False])
def test_a_form_begins_after_reasoning(model: Model, is_open: bool) -> None:
    form = json_grammar(CITY, strict=True, param="f").text
    grammar = after_reasoning(form, THINK, is_open=is_open, tokens=model.tokens)
    begin = "" if is_open else THINK.begin
    assert model.follow(grammar, f'{begin}so {{"a"{THINK.end}\n\n{ROME}') == "end"
    assert model.follow(grammar, f"{begin}so{THINK.end}\n\nRome") == "no"
    assert model.follow(grammar, ROME) == ("open" if is_open else "end")
