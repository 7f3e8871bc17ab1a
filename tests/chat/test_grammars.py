"""What clients ask for becomes a grammar, is checked afterwards, or is refused by its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from llmos_server.chat import grammars
from llmos_server.chat.answer_check import explain_mismatch
from llmos_server.chat.grammars import Grammar, choice_grammar, json_grammar, lark_grammar, regex_grammar
from llmos_server.chat.json_schema import MAX_DEPTH, MAX_PLACES
from llmos_server.errors import InvalidRequest

Schema = Any


def of(**properties: Schema) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def make(schema: Schema, *, strict: bool = False) -> Grammar:
    return json_grammar(schema, strict=strict, param="schema")


def schema_in(grammar: Grammar) -> Any:
    schema = json.loads(grammar.text)["grammars"][0]["json_schema"]
    del schema["x-guidance"]
    return opened(schema)


def opened(schema: Any) -> Any:
    """Without what closes the names of open objects."""
    if isinstance(schema, dict):
        if schema.get("patternProperties") == {"": True}:
            schema = {k: v for k, v in schema.items() if k not in ("patternProperties", "additionalProperties")}
        return {key: opened(value) for key, value in schema.items()}
    return [opened(part) for part in schema] if isinstance(schema, list) else schema


def test_further_names_are_no_way_around_a_property() -> None:
    """A name may be written with escapes: "\\u0061" is a."""
    loose = of(a={"type": "integer"}, é={"type": "null"})
    grammar = make(loose, strict=True)
    assert grammar.check is None
    assert accepts(grammar, '{"b": "x", "": {}}')
    assert accepts(grammar, '{"a": 1, "zz": [1]}')
    for text in ('{"\\u0061": "x"}', '{"\\u00e9": 1}', '{"a": "x"}', '{"b": 1, "a": "x"}'):
        assert not accepts(grammar, text), text
    kept = make({**loose, "additionalProperties": {"type": "string"}}, strict=True)
    assert kept.check is not None, "a grammar can't tell here; the answer is checked"
    assert explain_mismatch(kept.check, '{"\\u0061": "x"}')


def test_bounds_beyond_exact_numbers() -> None:
    int64 = make({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, strict=True)
    assert schema_in(int64) == {"type": "integer", "minimum": -(2**53) + 1, "maximum": 2**53 - 1}
    assert make({"type": "number", "maximum": 1e308}, strict=True).check is None
    assert refusal({"type": "integer", "minimum": 2**60}, strict=True).param == "schema.minimum"
    assert make({"type": "integer", "minimum": 2**60}).check is not None


def test_formats_that_nobody_checks_are_annotations() -> None:
    for name in ("int32", "password", "binary", "date2"):
        assert schema_in(make({"type": "string", "format": name}, strict=True)) == {"type": "string"}


def refusal(schema: Schema, *, strict: bool) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        make(schema, strict=strict)
    assert str(caught.value).startswith(f"{caught.value.param}: ")
    return caught.value


NOISE = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "$id": "https://example.org/thing",
    "$anchor": "thing",
    "$comment": "c",
    "title": "Thing",
    "description": None,
    "default": None,
    "examples": [1],
    "deprecated": True,
    "readOnly": False,
    "contentEncoding": "base64",
    "nullable": True,
    "x-guidance": {"whitespace_flexible": True},
    "discriminator": {"propertyName": "a"},
    "minLength": None,
    "pattern": None,
    "enum": None,
    "format": None,
    "items": None,
    "anyOf": None,
}


@pytest.mark.parametrize("strict", [True, False])
def test_annotations_unknown_keywords_and_nulls_change_nothing(strict: bool) -> None:
    noisy = {**NOISE, **of(title={**NOISE, "type": "string"}, const={**NOISE, "const": None}), "required": ["title"]}
    grammar = make(noisy, strict=strict)
    assert schema_in(grammar) == {**of(title={"type": "string"}, const={"const": None}), "required": ["title"]}
    assert grammar.check is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"minimum": 3, "exclusiveMinimum": True}, {"exclusiveMinimum": 3}),
        ({"maximum": 3, "exclusiveMaximum": False}, {"maximum": 3}),
        ({"items": [{"type": "null"}], "additionalItems": False}, {"prefixItems": [{"type": "null"}], "items": False}),
        ({"items": []}, {}),
        ({"uniqueItems": False, "unevaluatedProperties": True}, {}),
        (True, {}),
    ],
)
def test_older_spellings(old: Schema, new: Schema) -> None:
    assert schema_in(make(old, strict=True)) == new


UNHELD: dict[str, tuple[Schema, Any, Any]] = {
    "a.uniqueItems": ({"type": "array", "uniqueItems": True}, [1, 2], [1, 1]),
    "a.format": ({"type": "string", "format": "json-pointer"}, "/a", "a"),
    "a.pattern": ({"type": "string", "pattern": "^(?=.*x)[a-z]+$"}, "axb", "ab"),
    "a.patternProperties.(a)\\1": ({"patternProperties": {"(a)\\1": {"type": "null"}}}, {"aa": None}, {"aa": 1}),
    "a.not": ({"not": {"type": "string"}}, 1, "x"),
    "a.if": ({"if": {"type": "string"}, "then": {"minLength": 2}}, "xx", "x"),
    "a.dependentRequired": ({"dependencies": {"x": ["y"]}}, {"x": 1, "y": 1}, {"x": 1}),
    "a.propertyNames": ({"propertyNames": {"maxLength": 1}}, {"x": 1}, {"xx": 1}),
    "a.contains": ({"type": "array", "contains": {"const": 1}}, [1], [2]),
    "a": ({"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 5}]}, 1, 7),
    "a.anyOf.1.items.not": ({"anyOf": [{"type": "null"}, {"items": {"not": {"const": 1}}}]}, [2], [1]),
}
"""Path -> a schema of property a, a value that matches, and one that a grammar lets through."""


@pytest.mark.parametrize("path", UNHELD)
def test_what_no_grammar_holds_is_refused_by_path_when_strict_and_else_checked_afterwards(path: str) -> None:
    schema, right, wrong = UNHELD[path]
    error = refusal(of(a=schema), strict=True)
    assert (error.param, error.code) == (f"schema.properties.{path}", "unsupported_schema")
    assert "strict: false" in str(error)
    grammar = make(of(a=schema))
    assert grammar.check is not None
    assert explain_mismatch(grammar.check, json.dumps({"a": right})) is None
    assert (explain_mismatch(grammar.check, json.dumps({"a": wrong})) or "").startswith("a")


def test_a_part_that_no_grammar_holds_spoils_nothing_beside_it() -> None:
    patterns = {"patternProperties": {"^a.*b": {"type": "null"}, "^a.*c": {"type": "null"}}}
    grammar = make({**of(odd=patterns, plain={"type": "integer"}), "$defs": {"unused": patterns}})
    assert schema_in(grammar)["properties"] == {"odd": True, "plain": {"type": "integer"}}


WRONG: dict[str, Schema] = {
    "": "text",
    "type": {"type": "text"},
    "properties.a.minLength": of(a={"minLength": "1"}),
    "properties.a.pattern": of(a={"pattern": "["}),
    "properties.a": of(a=None),
    "properties": {"properties": []},
    "anyOf": {"anyOf": []},
    "items.$ref": {"items": {"$ref": "https://example.org/schema"}},
    "properties.a.$ref": of(a={"$ref": "#/$defs/missing"}),
    "$defs.a.$ref": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "type": "null"},
    "$dynamicRef": {"$dynamicRef": "#a"},
    "required.0": {"required": [1]},
}


@pytest.mark.parametrize("path", WRONG)
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_no_schema_is_refused_by_its_place(path: str, strict: bool) -> None:
    error = refusal(WRONG[path], strict=strict)
    assert error.code == "invalid_schema"
    place = "schema." + path if path else "schema"
    assert error.param is not None
    assert error.param.startswith(place), error


def test_what_nothing_can_match_is_refused() -> None:
    for schema in (False, {"required": ["a"], "properties": {"a": False}, "type": "object"}, {"enum": []}):
        assert refusal(schema, strict=False).param == "schema"
    closed = {"required": ["b"], "additionalProperties": False, "type": "object"}
    assert refusal({**of(a=closed), "required": ["a"]}, strict=False).param == "schema.properties.a"


def test_references_into_the_schema_and_to_itself() -> None:
    tree = {**of(children={"type": "array", "items": {"$ref": "#"}}), "required": ["children"]}
    assert make(tree, strict=True).check is None
    odd = {"$defs": {"a/b c": {"type": "null"}}, "$ref": "#/$defs/a~1b%20c"}
    assert make(odd, strict=True).check is None
    plain = {"$defs": {"Ünï çode": {"type": "null"}}, "$ref": "#/$defs/Ünï çode"}
    assert accepts(make(plain, strict=True), "null")


def test_size_and_depth_and_branching_are_bounded() -> None:
    deep: Schema = {}
    for _ in range(MAX_DEPTH + 1):
        deep = of(a=deep)
    assert "nested" in str(refusal(deep, strict=False))
    large = {"enum": ["x" * 1000] * (grammars.MAX_CHARS // 1000)}
    assert "at most" in str(refusal(large, strict=False))
    doubling = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(MAX_PLACES.bit_length())}
    last = {f"d{len(doubling)}": {"type": "null"}}
    assert "alternatives" in str(refusal({"$defs": doubling | last, "$ref": "#/$defs/d0"}, strict=False))


def accepts(grammar: Grammar, text: str) -> bool:
    """By the parser, byte after byte."""

    class Bytes:
        eos_token_id, bos_token_id = 256, None
        tokens = [*(bytes([i]) for i in range(256)), b"<end>"]
        special_token_ids = [256]

        def __call__(self, data: bytes) -> list[int]:
            return list(data)

    matcher = LLMatcher(LLTokenizer(TokenizerWrapper(Bytes())), grammar.text, log_level=0)
    return matcher.consume_tokens(list(text.encode())) and matcher.is_accepting()


def test_json_is_written_on_one_line_with_a_space_or_none_behind_separators() -> None:
    grammar = make({"type": "array", "items": {"type": "object"}})
    assert accepts(grammar, '[{"a": 1, "b":2},{}]')
    assert not accepts(grammar, '[{"a":  1}]')
    assert not accepts(grammar, "[\n{}]")


def test_choices_patterns_and_grammars() -> None:
    choice = choice_grammar(["yes", 'no\n"x"', "ünï", "yes", "a|b"], param="p")
    assert all(accepts(choice, text) for text in ("yes", 'no\n"x"', "ünï", "a|b"))
    assert not any(accepts(choice, text) for text in ("no", "yesyes", "a"))
    assert accepts(regex_grammar(r"\d{2}-(a|b)", param="p"), "12-b")
    gbnf = lark_grammar('root ::= "x" digit+\ndigit ::= [0-9]', param="p")
    lark = lark_grammar('start: "x" /[0-9]/+', param="p")
    for grammar in (gbnf, lark):
        assert accepts(grammar, "x12")
        assert not accepts(grammar, "x")


def test_schemas_in_a_larger_grammar() -> None:
    schema = of(a={"$ref": "#/$defs/n"}) | {"$defs": {"n": {"type": "null"}}}
    f, g = (
        grammars.schema_for_lark(grammars.grammar_schema(part, strict=True, param="p"))
        for part in (schema, {"type": "integer"})
    )
    grammar = lark_grammar(f'start: call+\ncall: "f" %json {f}\n | "g" %json {g}', param="p")
    assert accepts(grammar, 'f{"a": null}g12f{}')
    assert not accepts(grammar, 'g{"a": null}')


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: regex_grammar("(a", param="p"), "unclosed group"),
        (lambda: regex_grammar("(?=a)", param="p"), "look-around"),
        (lambda: lark_grammar("start: nothing", param="p"), "unknown name"),
        (lambda: lark_grammar("no grammar", param="p"), "can't be used"),
        (lambda: choice_grammar([], param="p"), "none of them empty"),
        (lambda: choice_grammar(["a", ""], param="p"), "none of them empty"),
        (lambda: regex_grammar("a" * 200_000, param="p"), "at most"),
    ],
)
def test_what_is_no_grammar_is_refused(build: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as caught:
        build()
    assert caught.value.param == "p"


def test_an_answer_that_is_cut_or_no_json_is_explained() -> None:
    assert (explain_mismatch({}, '{"a": ') or "").startswith("it is no JSON")
    assert explain_mismatch({"uniqueItems": True}, "[1, 1]") == "[1,1] has non-unique elements"
