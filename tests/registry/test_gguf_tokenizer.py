from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tokenizers import Tokenizer

from llmos_server.errors import UnsupportedModel
from llmos_server.gguf.reader import GGUFFile
from llmos_server.registry.gguf_tokenizer import build_tokenizer
from llmos_server.registry.gguf_vocabulary import end_ids, token_texts
from llmos_server.registry.pre_tokenizers import PRE_TOKENIZERS

RECORD = json.loads((Path(__file__).parents[1] / "data" / "tokenizer_smollm2.json").read_text())
PRE_RULES = json.loads((Path(__file__).parents[1] / "data" / "tokenizer_pre_rules.json").read_text())
CASES: list[dict[str, Any]] = RECORD["cases"]


@pytest.fixture(scope="module")
def real_metadata(smollm2_gguf: Path) -> Iterator[dict[str, Any]]:
    with GGUFFile.open(smollm2_gguf) as gguf:
        yield gguf.metadata


def ids(tokenizer: Tokenizer, text: str, *, parse_special: bool = True) -> list[int]:
    tokenizer.encode_special_tokens = not parse_special
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.real_model
def test_the_record_belongs_to_the_real_file(smollm2_gguf: Path) -> None:
    assert hashlib.sha256(smollm2_gguf.read_bytes()).hexdigest() == RECORD["gguf_sha256"]
    assert len(CASES) >= 150


@pytest.mark.real_model
def test_ids_equal_llama_cpp_with_special_tokens_parsed(real_metadata: dict[str, Any]) -> None:
    tokenizer = build_tokenizer(real_metadata)
    wrong = [case["text"] for case in CASES if ids(tokenizer, case["text"]) != case["ids"]]
    assert wrong == []


@pytest.mark.real_model
def test_ids_equal_llama_cpp_with_special_tokens_as_text(real_metadata: dict[str, Any]) -> None:
    tokenizer = build_tokenizer(real_metadata)
    expected = {case["text"]: case.get("ids_without_special", case["ids"]) for case in CASES}
    wrong = [text for text in expected if ids(tokenizer, text, parse_special=False) != expected[text]]
    assert wrong == []


@pytest.mark.real_model
@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "qwen2"])
def test_other_split_rules_equal_llama_cpp_over_the_same_vocabulary(real_metadata: dict[str, Any], pre: str) -> None:
    tokenizer = build_tokenizer({**real_metadata, "tokenizer.ggml.pre": pre})
    expected = {case["text"]: case.get("other_pre", {}).get(pre, case["ids"]) for case in CASES}
    wrong = [text for text in expected if ids(tokenizer, text) != expected[text]]
    assert wrong == []


@pytest.mark.real_model
@pytest.mark.parametrize("pre", PRE_RULES["rules"])
def test_every_split_rule_equals_llama_cpp(real_metadata: dict[str, Any], pre: str) -> None:
    tokenizer = build_tokenizer({**real_metadata, "tokenizer.ggml.pre": pre})
    for case in PRE_RULES["cases"]:
        expected = next((other["ids"] for other in case["other"] if pre in other["pre"]), case["ids"])
        assert ids(tokenizer, case["text"]) == expected, case["text"]


def test_no_split_rule_is_unchecked() -> None:
    assert set(PRE_RULES["rules"]) == set(PRE_TOKENIZERS)


@pytest.mark.real_model
def test_text_comes_back_from_its_ids(real_metadata: dict[str, Any]) -> None:
    tokenizer = build_tokenizer(real_metadata)
    texts = [case["text"] for case in CASES if "ids_without_special" not in case]
    lost = [text for text in texts if tokenizer.decode(ids(tokenizer, text)) != text]
    # This vocabulary has no tokens for some of these bytes; llama.cpp loses them too.
    assert lost == ["\x1c\x1d\x1e\x1f"]


class TestSmallVocabulary:
    def metadata(self, fakes: ModuleType, **changes: Any) -> dict[str, Any]:
        values = {**fakes.tiny_metadata(), **{f"tokenizer.ggml.{key}": value for key, value in changes.items()}}
        return {key: value for key, value in values.items() if value is not None}

    def test_merges_apply_and_other_bytes_stay_alone(self, fakes: ModuleType) -> None:
        tokenizer = build_tokenizer(self.metadata(fakes))
        assert tokenizer.encode("a the é").tokens == ["a", "Ġthe", "Ġ", "Ã", "©"]

    def test_control_tokens_are_special_and_user_defined_ones_always_match(self, fakes: ModuleType) -> None:
        metadata = self.metadata(fakes)
        metadata["tokenizer.ggml.tokens"].append("  x")
        metadata["tokenizer.ggml.token_type"].append(4)
        tokenizer = build_tokenizer(metadata)
        last = len(metadata["tokenizer.ggml.tokens"]) - 1
        assert last in ids(tokenizer, "a  x<|im_end|>", parse_special=False)
        assert 2 not in ids(tokenizer, "a  x<|im_end|>", parse_special=False)
        assert ids(tokenizer, "a  x<|im_end|>")[-2:] == [last, 2]
        assert tokenizer.decode(ids(tokenizer, "a  x<|im_end|>"), skip_special_tokens=True) == "a  x"

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"add_bos_token": True}, [1, None]),
            ({"add_bos_token": True, "add_eos_token": True}, [1, None, 2]),
            ({"add_bos_token": None, "pre": "llama-bpe"}, [1, None]),
            ({"add_bos_token": None}, [None]),
            ({"add_bos_token": True, "bos_token_id": None}, [None]),
        ],
    )
    def test_bos_and_eos_are_added_where_the_file_says_so(
        self, fakes: ModuleType, changes: dict[str, Any], expected: list[int | None]
    ) -> None:
        tokenizer = build_tokenizer(self.metadata(fakes, **changes))
        alone = tokenizer.encode("a", add_special_tokens=False).ids
        assert tokenizer.encode("a").ids == [i for e in expected for i in (alone if e is None else [e])]

    def test_qwen_composes_characters_first(self, fakes: ModuleType) -> None:
        tokenizer = build_tokenizer(self.metadata(fakes, pre="qwen2"))
        assert ids(tokenizer, "e\u0301") == ids(tokenizer, "é")

    def test_an_unknown_split_rule_is_refused_by_name(self, fakes: ModuleType) -> None:
        with pytest.raises(UnsupportedModel, match="'my-own'"):
            build_tokenizer(self.metadata(fakes, pre="my-own"))
        with pytest.raises(UnsupportedModel, match=r"no tokenizer\.ggml\.pre"):
            build_tokenizer(self.metadata(fakes, pre=None))

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"model": "rwkv"}, "'rwkv'"),
            ({"model": "llama"}, "scores"),
            ({"tokens": None}, "tokens"),
            ({"tokens": ["a", "a"]}, "twice"),
            ({"merges": ["ab"]}, "no pair"),
            ({"merges": ["zz yy"]}, "disagree"),
            ({"token_type": [1]}, "token_type"),
        ],
    )
    def test_inconsistent_tables_are_refused(self, fakes: ModuleType, changes: dict[str, Any], match: str) -> None:
        with pytest.raises(UnsupportedModel, match=match):
            build_tokenizer(self.metadata(fakes, **changes))

    def test_ids_that_end_an_answer(self, fakes: ModuleType) -> None:
        def ends(**changes: Any) -> list[int]:
            metadata = self.metadata(fakes, **changes)
            return end_ids(metadata, token_texts(metadata))

        assert ends() == [2]
        assert ends(eos_token_id=0) == [0, 2]
        assert ends(eos_token_id=0, eot_token_id=1) == [0, 1]
        assert ends(eos_token_id=10**6) == [2]

    def test_every_rule_builds_and_loses_no_text(self, fakes: ModuleType) -> None:
        for pre in PRE_TOKENIZERS:
            tokenizer = build_tokenizer(self.metadata(fakes, pre=pre))
            text = "Don't  stop\n\n 123 the½ ٣ é\t\t9"
            assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text
