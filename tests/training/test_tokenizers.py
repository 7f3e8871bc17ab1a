"""Tokenizers of a corpus: texts come back, special tokens stay whole, and the folder is one that the registry reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llmos_recipes import find_recipe
from tokenizers import Tokenizer

from llmos_server.errors import InvalidRequest
from llmos_server.registry.json_files import read_json
from llmos_server.training.recipe import read_recipe
from llmos_server.training.tokenizer_keys import TokenizerKeys, read_tokenizer_keys
from llmos_server.training.tokenizers import write_tokenizer

SENTENCE = "the cat sat on a mat while 27 dogs ran over hills and looked for bones in old gardens"
WORDS = SENTENCE.split()
CORPUS = [" ".join(WORDS[at : at + 7]) for at in range(len(WORDS))] * 20
TEXT = "the dogs sat on 1984 mats, naïvely: 猫"


def keys_of(name: str, **others: Any) -> TokenizerKeys:
    path = find_recipe(name)
    assert path
    return read_tokenizer_keys(read_recipe(path).values | others)


@pytest.mark.parametrize("name", ["tokenizer_bpe", "tokenizer_unigram"])
def test_texts_come_back_and_special_tokens_are_single(name: str, tmp_path: Path) -> None:
    keys = keys_of(name, vocab_size=400)
    num = write_tokenizer(CORPUS, keys, tmp_path / "a")
    tokenizer = Tokenizer.from_file(str(tmp_path / "a/tokenizer.json"))
    assert num == tokenizer.get_vocab_size() <= 400
    ids = tokenizer.encode(TEXT, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == TEXT
    assert len(ids) < len(TEXT.encode())
    assert [tokenizer.token_to_id(token) for token in keys.special_tokens] == list(range(len(keys.special_tokens)))
    write_tokenizer(CORPUS, keys, tmp_path / "b")
    assert (tmp_path / "a/tokenizer.json").read_bytes() == (tmp_path / "b/tokenizer.json").read_bytes()


def test_digits_stand_alone(tmp_path: Path) -> None:
    write_tokenizer(CORPUS, keys_of("tokenizer_bpe", vocab_size=400), tmp_path)
    tokens = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("27 1984").tokens
    assert [token for token in tokens if token.strip("Ġ").isdigit()] == ["2", "7", "1", "9", "8", "4"]


def test_an_encoders_tokenizer_puts_its_tokens_around_a_text(tmp_path: Path) -> None:
    write_tokenizer(CORPUS, keys_of("tokenizer_unigram", vocab_size=400), tmp_path)
    tokens = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("the cat <mask>").tokens
    assert (tokens[0], tokens[-2], tokens[-1]) == ("<s>", "<mask>", "</s>")
    named = read_json(tmp_path / "tokenizer_config.json", "")
    assert (named["mask_token"], named["pad_token"], named["model_max_length"]) == ("<mask>", "<pad>", 1024)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"vocab_size": 200}, "vocab_size"),
        ({"special_tokens": []}, "special_tokens"),
        ({"special_tokens": ["a", "a"]}, "special_tokens"),
        ({"tokenizer_type": "wordpiece"}, "tokenizer_type"),
        ({"character_coverage": 0.5}, "character_coverage"),
    ],
)
def test_a_key_that_cant_be_is_named(wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        keys_of("tokenizer_bpe", **wrong)
    assert caught.value.param == param


@pytest.mark.parametrize("name", ["tokenizer_bpe", "tokenizer_unigram"])
def test_a_corpus_without_text_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        write_tokenizer([], keys_of(name, vocab_size=400), tmp_path)
