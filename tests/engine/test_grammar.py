"""What a grammar allows, with the real parser and a small tokenizer: the same in any order of asking."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from llguidance import LLMatcher
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from llmos_server.engine.grammar import MAX_CACHED, GrammarCompiler, SequenceGrammar
from llmos_server.engine.mask_budget import MaskBudget
from llmos_server.errors import InvalidRequest, UnsupportedModel

PADDING = 7
SCHEMA = {
    "type": "object",
    "properties": {
        "näme": {"type": "string", "maxLength": 6},
        "kind": {"enum": ["old", "older", 3]},
        "parts": {"type": "array", "items": {"$ref": "#"}, "maxItems": 1},
    },
    "required": ["näme", "kind"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(['{"näme": "old", "kind": "older", "parts": []}, true false null 12 34'] * 9, trainer)
    made.add_special_tokens(["<end>", "<call>"])
    made.add_tokens([AddedToken("The end")])
    return made


@pytest.fixture(scope="module")
def compiler(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> GrammarCompiler:
    folder = tmp_path_factory.mktemp("model")
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    return GrammarCompiler(folder, tokenizer.get_vocab_size() + PADDING)


def json_schema(schema: dict[str, Any]) -> str:
    return LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False})


def regex(pattern: str) -> str:
    return LLMatcher.grammar_from_regex(pattern)


def masks_of(grammar: SequenceGrammar, draft_ids: list[int], stops: tuple[int, ...]) -> list[list[int]]:
    return [np.flatnonzero(mask).tolist() for mask in grammar.masks(draft_ids, stops)]


@pytest.mark.parametrize("seed", range(12))
def test_a_walk_is_valid_and_masks_ahead_are_those_of_the_way_itself(
    compiler: GrammarCompiler, tokenizer: Tokenizer, seed: int
) -> None:
    """Random tokens of the masks, half of them guessed before; what was guessed wrong leaves no trace."""
    rng, end = random.Random(seed), tokenizer.token_to_id("<end>")
    start = compiler.compile(json_schema(SCHEMA))
    walker, tokens = start.fork(), []
    while not walker.is_complete and len(tokens) < 300:
        guess: list[int] = []
        ahead = start.fork()
        for token in tokens:
            ahead.accept(token)
        expected = masks_of(ahead, [], (end,))
        for _ in range(rng.randrange(4)):
            guess.append(rng.choice(expected[-1]))
            if guess[-1] == end:
                break
            ahead.accept(guess[-1])
            if ahead.is_complete:
                break
            expected += masks_of(ahead, [], (end,))
        assert masks_of(walker, [*guess, tokenizer.token_to_id("<call>")], (end,)) == expected
        token = guess[0] if guess and rng.random() < 0.5 else rng.choice(expected[0])
        if token == end:
            break
        tokens.append(token)
        walker.accept(token)
    if walker.is_complete:
        jsonschema.validate(json.loads(tokenizer.decode(tokens)), SCHEMA)
    assert walker.error == ""


CITY = {
    "type": "object",
    "properties": {
        "to": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        "city": {"type": ["integer", "null"]},
        "size": {"type": "integer", "minimum": 218, "maximum": 251},
        "unit": {"anyOf": [{"enum": ["C", "F", "K"]}, {"type": "null"}]},
    },
    "required": ["city", "unit", "size"],
}


def structural(rng: random.Random, tokenizer: Tokenizer, ids: list[int]) -> int:
    """One of them, most often one that brings a text on its way."""
    marks = [token_id for token_id in ids if set('[]{}",:') & set(tokenizer.id_to_token(token_id) or "")]
    return rng.choice(marks if marks and rng.random() < 0.8 else ids)


@pytest.mark.parametrize("seed", range(40))
def test_calls_are_what_they_would_be_without_guesses(
    compiler: GrammarCompiler, tokenizer: Tokenizer, seed: int
) -> None:
    """Of one grammar, as requests share it; a token that a mask allows is accepted."""
    rng = random.Random(seed)
    rules = ["%llguidance {}", "start: call+", 'call: "[" arguments "]"', f"arguments: %json {json.dumps(CITY)}"]
    start = compiler.compile(LLMatcher.grammar_from_lark("\n".join(rules)))
    guesser, plain, tokens = start.fork(), start.fork(), []
    while len(tokens) < 150 and not plain.is_complete:
        ahead, guesses = start.fork(), []
        for token in tokens:
            ahead.accept(token)
        for _ in range(rng.choice([0, 0, 1, 3, 5])):
            if not (fitting := masks_of(ahead, [], ())) or not fitting[0]:
                break
            guesses.append(structural(rng, tokenizer, fitting[0]))
            ahead.accept(guesses[-1])
        [allowed] = masks_of(plain, [], ())
        assert masks_of(guesser, guesses, ())[0] == allowed
        tokens.append(structural(rng, tokenizer, allowed))
        guesser.accept(tokens[-1])
        plain.accept(tokens[-1])
        assert guesser.error == plain.error


def test_stop_tokens_stand_for_the_end_and_count_as_text_only_where_nothing_else_is_left(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    end, one = tokenizer.token_to_id("<end>"), tokenizer.token_to_id("1")
    grammar = compiler.compile(regex("[12]|11|13")).fork()
    (first,) = masks_of(grammar, [], (end, one))
    assert end not in first
    assert one not in first
    assert tokenizer.token_to_id("2") in first
    grammar.accept(one)
    (second,) = masks_of(grammar, [], (end,))
    assert {end, tokenizer.token_to_id("3")} <= set(second)
    assert masks_of(compiler.compile(regex("19")).fork(), [], (end, one)) == [[one]]


def test_an_end_token_that_is_no_special_token_stays_out_of_the_text(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    """Some tokenizers hold their model's end as ordinary text."""
    end = tokenizer.token_to_id("The end")
    grammar = compiler.compile(json_schema({"type": "string"})).fork()
    (token,) = tokenizer.encode('"').ids
    grammar.accept(token)
    assert end in masks_of(grammar, [], ())[0]
    assert end not in masks_of(grammar, [], (end,))[0]


def test_a_grammar_names_special_tokens_by_id_only(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    call = tokenizer.token_to_id("<call>")
    grammar = compiler.compile(LLMatcher.grammar_from_lark(f'start: <[{call}]> "x"')).fork()
    assert masks_of(grammar, [], ()) == [[call]]
    with pytest.raises(InvalidRequest, match="unknown special token") as caught:
        compiler.compile(LLMatcher.grammar_from_lark('start: <call> "x"'))
    assert "available" not in str(caught.value), "their names in here are a secret"


@pytest.mark.parametrize("literal", ["<end>", "<call>", "x<end>", "<call><end>y"])
def test_the_text_of_a_special_token_stays_text(compiler: GrammarCompiler, tokenizer: Tokenizer, literal: str) -> None:
    """Forced or free: what a schema, a choice or a pattern spells out is spelt in other tokens."""
    special = {tokenizer.token_to_id("<call>"), tokenizer.token_to_id("<end>")}
    lark = LLMatcher.grammar_from_lark(f"start: {json.dumps(literal)}")
    for text, expected in (
        (json_schema({"const": literal}), json.dumps(literal)),
        (json_schema({"enum": [literal, literal + "!"]}), json.dumps(literal)),
        (json_schema({"type": "string", "pattern": f"^{literal}$"}), json.dumps(literal)),
        (json_schema({"type": "string", "maxLength": 3}), '"'),
        (regex(literal), literal),
        (lark, literal),
    ):
        grammar = compiler.compile(text).fork()
        made: list[int] = []
        while not grammar.is_complete and len(made) < 60:
            (allowed,) = masks_of(grammar, [], (tokenizer.token_to_id("<end>"),))
            is_over = tokenizer.decode(made) == expected
            assert is_over or not special & set(allowed), (text, made)
            if is_over:
                break
            plain = tokenizer.decode(made)
            fits = [token for token in allowed if expected.startswith(plain + tokenizer.decode([token]))]
            made.append(fits[0])
            grammar.accept(fits[0])
        assert tokenizer.decode(made) == expected


def test_padding_is_never_allowed(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    (mask,) = compiler.compile(regex("(.|\n)*")).fork().masks([], ())
    assert len(mask) == tokenizer.get_vocab_size() + PADDING
    assert mask[: tokenizer.get_vocab_size() - 3].sum() > 200
    assert not mask[-PADDING:].any()


def test_what_cannot_be_followed_is_told(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    with pytest.raises(InvalidRequest, match="unclosed group"):
        compiler.compile(regex("(a"))
    grammar = compiler.compile(regex("ab")).fork()
    grammar.accept(tokenizer.token_to_id("x"))
    assert grammar.masks([], ()) == []
    assert grammar.error
    done = compiler.compile(regex("a")).fork()
    done.accept(tokenizer.token_to_id("a"))
    assert done.is_complete
    assert done.masks([], ()) == []
    assert done.error == "no token of this model fits"


class CostlyClock:
    """Of a thread that takes so long for each mask: two looks."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._now = 0.0
        self._num_looks = 0

    def __call__(self) -> float:
        self._num_looks += 1
        self._now += self._seconds if self._num_looks % 2 == 0 else 0.0
        return self._now


@pytest.mark.parametrize(("seconds", "most"), [(0.12, 10), (0.036, 39), (0.009, 400)])
def test_masks_that_cost_too_much_on_average_end_the_answer(
    tokenizer: Tokenizer, tmp_path: Path, seconds: float, most: int
) -> None:
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    clock = CostlyClock(seconds)
    compiler = GrammarCompiler(tmp_path, tokenizer.get_vocab_size(), lambda: MaskBudget(clock))
    start = compiler.compile(regex("a*"))
    for grammar in (start.fork(), start.fork()):
        num = 0
        while num < 400 and grammar.masks([], (1,)):
            assert not grammar.error
            grammar.accept(tokenizer.token_to_id("a"))
            num += 1
        assert num == most
        assert ("10 ms of processor time" in grammar.error) == (most < 400)
    assert start.fork().masks([], (1,)), "another answer of the same grammar begins anew"


def test_guesses_are_paid_for_too(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """What is guessed never ends an answer in the midst of a step."""
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    clock = CostlyClock(0.2)
    grammar = (
        GrammarCompiler(tmp_path, tokenizer.get_vocab_size(), lambda: MaskBudget(clock)).compile(regex("a*")).fork()
    )
    a = tokenizer.token_to_id("a")
    assert len(grammar.masks([a] * 8, (1,))) == 9
    assert not grammar.error
    assert grammar.masks([a] * 8, (1,)) == []
    assert grammar.error


def test_the_last_grammars_are_kept(compiler: GrammarCompiler) -> None:
    first, *others = [regex(f"kept{number}") for number in range(MAX_CACHED + 1)]
    for text in (first, *others):
        compiler.compile(text)
    assert compiler.find(first) is None
    assert all(compiler.find(text) for text in others)


def test_a_tokenizer_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    compiler = GrammarCompiler(tmp_path, 10)
    with pytest.raises(UnsupportedModel, match=r"tokenizer\.json"):
        compiler.compile(regex("a"))
    (tmp_path / "tokenizer.json").write_text(Tokenizer(models.WordPiece({"a": 0}, unk_token="a")).to_str())
    with pytest.raises(UnsupportedModel, match="no grammar can be followed with this tokenizer"):
        compiler.compile(regex("a"))
