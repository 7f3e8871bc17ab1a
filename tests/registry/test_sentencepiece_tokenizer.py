"""tokenizer.model to tokenizer.json, against SentencePiece's own ids."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import originals
import pytest
from hypothesis import given
from hypothesis import strategies as st
from originals import GEMMA, LLAMA, NASTY, T5
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from llmos_server.errors import PullError, UnsupportedModel
from llmos_server.registry.folders import import_folder
from llmos_server.registry.sentencepiece_models import Pieces, Spelling, build_bpe, build_unigram
from llmos_server.registry.sentencepiece_tokenizer import convert_sentencepiece, read_sentencepiece

KINDS: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "gemma": GEMMA,
    "t5": T5,
    "bpe-nfkc": {"model_type": "bpe", "vocab_size": 400},
    "unigram-bytes": {**LLAMA, "model_type": "unigram", "add_dummy_prefix": False},
}


@pytest.fixture(scope="module", params=KINDS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Tokenizer]:
    path = tmp_path_factory.mktemp("spm") / "tokenizer.model"
    path.write_bytes(originals.train_sentencepiece(**KINDS[request.param]))
    return SentencePieceProcessor(model_file=str(path)), read_sentencepiece(path)


def check(case: tuple[Any, Tokenizer], text: str) -> None:
    original, ours = case
    ours.encode_special_tokens = True
    assert ours.encode(text, add_special_tokens=False).ids == original.encode(text)


@given(text=st.text(st.sampled_from("abcdefsxyz   \n\t.,!'<>/|0123éïüﬁ½①東京へ🙂")))
def test_ids_equal_sentencepiece(case: tuple[Any, Tokenizer], text: str) -> None:
    check(case, text)


def test_ids_of_the_fixed_texts(case: tuple[Any, Tokenizer]) -> None:
    for text in NASTY:
        # Unigram finds a byte's own name in a text where SentencePiece doesn't, if "<" is no piece.
        if text != "<0x41>":
            check(case, text.replace("▁", "_"))


def test_text_comes_back(case: tuple[Any, Tokenizer]) -> None:
    original, ours = case
    for text in originals.corpus()[:50]:
        assert ours.decode(original.encode(text)) == original.decode(original.encode(text))


@pytest.fixture(scope="module")
def llama_model() -> bytes:
    return originals.train_sentencepiece(**LLAMA)


def test_a_folder_is_imported_with_it(fakes: ModuleType, tmp_path: Path, llama_model: bytes) -> None:
    source, target = fakes.write_folder(tmp_path / "a"), tmp_path / "b"
    target.mkdir()
    (source / "tokenizer.json").unlink()
    (source / "tokenizer.model").write_bytes(llama_model)
    original = SentencePieceProcessor(model_proto=llama_model)
    size = original.vocab_size()
    config = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": {"content": "<s>"},
        "eos_token": "</s>",
        "added_tokens_decoder": {
            "1": {"content": "<s>", "special": True},
            str(size): {"content": "<|im_start|>", "special": True},
            str(size + 1): {"content": "<think>", "special": False},
        },
    }
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    import_folder(source, target)
    ours = Tokenizer.from_file(str(target / "tokenizer.json"))
    assert ours.encode("the sea").ids == [1, *original.encode("the sea")]
    expected = [size, *original.encode("user"), size + 1, *original.encode("x")]
    assert ours.encode("<|im_start|>user<think>x", add_special_tokens=False).ids == expected


def test_transformers_gives_the_same_ids(tmp_path: Path, llama_model: bytes) -> None:
    transformers = pytest.importorskip("transformers")
    path = tmp_path / "tokenizer.model"
    path.write_bytes(llama_model)
    described = json.loads(read_sentencepiece(path).to_str())["model"]
    merges = [tuple(pair) for pair in described["merges"]]
    theirs = transformers.LlamaTokenizer(vocab=described["vocab"], merges=merges, add_prefix_space=True)
    ours = convert_sentencepiece(path, {"bos_token": "<s>", "add_bos_token": True, "eos_token": "</s>"})
    for text in NASTY:
        if not text.startswith((" ", "▁")):  # They put no second space there; SentencePiece does.
            assert ours.encode(text, add_special_tokens=False).ids == theirs.encode(text, add_special_tokens=False)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"legacy": False}, "legacy"),
        ({"add_bos_token": True, "bos_token": "<begin>"}, "<begin>"),
        ({"added_tokens_decoder": {"9999": {"content": "<x>"}}}, "9999"),
        ({"added_tokens_decoder": {"1": {"content": "<x>"}}}, "not free"),
    ],
)
def test_what_cant_be_rebuilt_is_refused(
    tmp_path: Path, llama_model: bytes, config: dict[str, Any], match: str
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(llama_model)
    with pytest.raises(UnsupportedModel, match=match):
        convert_sentencepiece(tmp_path / "tokenizer.model", config)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"model_type": "char"}, "neither BPE nor Unigram"),
        ({"model_type": "bpe", "vocab_size": 400, "treat_whitespace_as_suffix": True}, "writes spaces"),
    ],
)
def test_other_kinds_are_refused_by_name(tmp_path: Path, options: dict[str, Any], match: str) -> None:
    (tmp_path / "tokenizer.model").write_bytes(originals.train_sentencepiece(**options))
    with pytest.raises(UnsupportedModel, match=match):
        read_sentencepiece(tmp_path / "tokenizer.model")


@given(data=st.data())
def test_damaged_files_are_refused_or_read_never_worse(
    data: st.DataObject, llama_model: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    damaged = bytearray(llama_model[: data.draw(st.integers(0, 600))])
    for place in data.draw(st.lists(st.integers(0, max(0, len(damaged) - 1)), max_size=4)):
        if damaged:
            damaged[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("bad") / "tokenizer.model"
    path.write_bytes(bytes(damaged))
    with contextlib.suppress(PullError, UnsupportedModel):
        read_sentencepiece(path)


def pieces(texts: list[str], score: float = -1.0) -> Pieces:
    return Pieces(texts=texts, scores=[score] * len(texts), types=[1] * len(texts), unknown_id=None)


@pytest.mark.parametrize("texts", [["a" * 2**20], ["a" * length for length in range(1, 2000)]])
def test_a_hostile_vocabulary_is_refused_before_it_is_cut(texts: list[str]) -> None:
    with pytest.raises(UnsupportedModel, match=f"too long for BPE: up to {len(texts[-1])} characters"):
        build_bpe(pieces(texts), Spelling(adds_space=True))


@pytest.mark.parametrize("build", [build_bpe, build_unigram])
def test_scores_without_an_order_are_refused(build: Any) -> None:
    with pytest.raises(UnsupportedModel, match="no finite number"):
        build(pieces(["a", "b"], float("nan")), Spelling(adds_space=True))
