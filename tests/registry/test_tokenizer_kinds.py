"""SentencePiece and WordPiece from GGUF metadata, against the libraries that made them, and against llama.cpp."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import originals
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from originals import GEMMA, LLAMA, MARKS, NASTY, T5
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from llmos_server.errors import UnsupportedModel
from llmos_server.registry.gguf_tokenizer import build_tokenizer

RECORD = json.loads((Path(__file__).parents[1] / "data" / "tokenizer_llama_cpp.json").read_text())
KINDS = [kind for kind in RECORD if kind != "about"]

WHOLE_CHARACTERS = st.text(st.characters(exclude_categories=["Cs", "Mn", "Mc", "Me", "Cf"], exclude_characters="▁\0"))
FAMILIAR = st.text(st.sampled_from("abcdefsxyz   \n\t.,!'<>/|0123éïüﬁ½①\uff21東京へ🙂"))
TEXTS = FAMILIAR | WHOLE_CHARACTERS | st.text(st.characters(max_codepoint=0x17F, exclude_characters="\0"))


def encode(tokenizer: Tokenizer, text: str, *, parse_special: bool = True, add_special: bool = False) -> list[int]:
    tokenizer.encode_special_tokens = not parse_special
    return list(tokenizer.encode(text, add_special_tokens=add_special).ids)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_equal_llama_cpp(kind: str) -> None:
    tokenizer = build_tokenizer(RECORD[kind]["metadata"])
    assert len(RECORD[kind]["cases"]) > 60
    wrong = [
        case["text"]
        for case in RECORD[kind]["cases"]
        if encode(tokenizer, case["text"]) != case["ids"]
        or encode(tokenizer, case["text"], parse_special=False) != case["ids_without_special"]
        or encode(tokenizer, case["text"], add_special=True) != case["ids_with_added"]
    ]
    assert wrong == []


class SentencePieceCase:
    """An original, and ours from its metadata."""

    def __init__(self, options: dict[str, Any], kind: str, **changes: Any) -> None:
        self.original = SentencePieceProcessor(model_proto=originals.train_sentencepiece(**options))
        self.metadata = originals.sentencepiece_metadata(self.original, kind, **changes)
        self.ours = build_tokenizer(self.metadata)

    def check(self, text: str) -> None:
        """Literals of special tokens are text to the original."""
        assert encode(self.ours, text, parse_special=False) == self.original.encode(text), text


@pytest.fixture(scope="module")
def llama() -> SentencePieceCase:
    return SentencePieceCase(LLAMA, "llama")


@pytest.fixture(scope="module")
def gemma() -> SentencePieceCase:
    return SentencePieceCase(GEMMA, "llama", add_space_prefix=False)


@pytest.fixture(scope="module")
def t5() -> SentencePieceCase:
    charsmap = originals.charsmap_of(originals.train_sentencepiece(**T5))
    spaces = {"add_space_prefix": True, "remove_extra_whitespaces": True}
    return SentencePieceCase(T5, "t5", precompiled_charsmap=charsmap, add_eos_token=True, **spaces)


@given(text=TEXTS | st.text(st.sampled_from("ab ▁e\u0301\u200d🙂<s>")))
def test_bpe_with_a_space_before_the_text_equals_sentencepiece(llama: SentencePieceCase, text: str) -> None:
    llama.check(text)


@given(text=TEXTS)
@example(text="a   b    c\n\n\n<b>x</b><start>  ")
def test_bpe_with_user_defined_pieces_equals_sentencepiece(gemma: SentencePieceCase, text: str) -> None:
    gemma.check(text.replace("▁", "_"))


@given(text=FAMILIAR | WHOLE_CHARACTERS.filter(lambda text: not originals.JOINS.search(text)))
def test_unigram_with_a_charsmap_equals_sentencepiece(t5: SentencePieceCase, text: str) -> None:
    t5.check(text)


def test_the_fixed_texts_too(llama: SentencePieceCase, gemma: SentencePieceCase, t5: SentencePieceCase) -> None:
    for text in NASTY + MARKS[:-2]:
        llama.check(text)
        gemma.check(text.replace("▁", "_"))
        t5.check(text)


def test_the_one_known_difference_is_the_librarys(t5: SentencePieceCase) -> None:
    """An accent on a character that the charsmap replaces is dropped, by Transformers' fast tokenizers too."""
    assert t5.original.decode(t5.original.encode("½\u0301x")) != t5.ours.decode(encode(t5.ours, "½\u0301x"))


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def wordpiece(request: pytest.FixtureRequest) -> tuple[Tokenizer, dict[str, Any]]:
    original = originals.train_wordpiece(lowercase=request.param)
    return original, originals.wordpiece_metadata(original)


@given(text=st.text() | FAMILIAR)
def test_wordpiece_equals_berts(wordpiece: tuple[Tokenizer, dict[str, Any]], text: str) -> None:
    original, metadata = wordpiece
    ours = build_tokenizer(metadata)
    for case in (text, f"Ünïque {text}", "[CLS] [UNK]"):
        assert ours.encode(case).ids == original.encode(case).ids


def test_wordpiece_on_the_fixed_texts_and_pairs(wordpiece: tuple[Tokenizer, dict[str, Any]]) -> None:
    original, metadata = wordpiece
    ours = build_tokenizer(metadata)
    for text in NASTY + MARKS:
        assert ours.encode(text).ids == original.encode(text).ids
    pair, expected = ours.encode("the sea", "is wide"), original.encode("the sea", "is wide")
    assert (pair.ids, pair.type_ids) == (expected.ids, expected.type_ids)


def test_what_the_file_says_about_case_wins(wordpiece: tuple[Tokenizer, dict[str, Any]]) -> None:
    _, metadata = wordpiece
    for lowercase in (True, False):
        ours = build_tokenizer({**metadata, "tokenizer.ggml.normalizer.lowercase": lowercase})
        assert (ours.encode("THE").ids == ours.encode("the").ids) is lowercase


@pytest.mark.parametrize("kind", ["llama", "t5"])
@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"scores": None}, "scores"),
        ({"token_type": [1]}, "token_type"),
        ({"precompiled_charsmap": [1, 2, 3]}, "charsmap"),
        ({"precompiled_charsmap": ["a"]}, "charsmap"),
        ({"tokens": None}, "tokens"),
    ],
)
def test_broken_tables_are_refused(kind: str, changes: dict[str, Any], match: str) -> None:
    changed = {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    metadata = {key: value for key, value in {**RECORD[kind]["metadata"], **changed}.items() if value is not None}
    with pytest.raises(UnsupportedModel, match=match):
        build_tokenizer(metadata)
