"""Whatever stands in a checkpoint's JSON files: it is imported, or refused by a domain error; nothing else happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import originals
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_server.chat.model_files import load_model_files
from llmos_server.errors import LLMOSError, PullError
from llmos_server.registry.json_files import read_json
from llmos_server.registry.registry import Registry

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 2, 3, 500, 2**31, 2**64, 10**400])
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(
        ["", "a", "<s>", "$A", "a:1", "\ud800", "0", "1", "-1", "²", "content", "mean", "1_Pooling", ".."]
    )
)
TOKENS = st.fixed_dictionaries(
    {"content": SCALARS},
    optional=dict.fromkeys(("special", "lstrip", "rstrip", "normalized", "single_word"), SCALARS),
)
JSON = st.recursive(
    SCALARS | TOKENS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Else everything would be refused for the first of its keys."""
    return st.integers(0, 9).flatmap(lambda i: good if i else JSON)


TOKEN = mostly(st.sampled_from(["a", "<s>", "<new>"]) | TOKENS)
ADDED = st.dictionaries(st.sampled_from("0123") | SCALARS.map(str), TOKEN, max_size=2)
NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "cls_token")
FLAGS = (
    "add_bos_token",
    "add_eos_token",
    "add_prefix_space",
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
)
CLASSES = ("GPT2Tokenizer", "RobertaTokenizer", "Qwen2Tokenizer", "LlamaTokenizer")
LISTS = ("extra_special_tokens", "additional_special_tokens")
TOKENIZER_KEYS = {
    **dict.fromkeys(NAMES, TOKEN),
    **dict.fromkeys(FLAGS, mostly(st.booleans())),
    **dict.fromkeys(LISTS, mostly(st.lists(TOKEN, max_size=2))),
    **dict.fromkeys(("legacy", "image_token", "model_max_length"), JSON),
    "added_tokens_decoder": mostly(ADDED),
    "chat_template": mostly(st.lists(st.fixed_dictionaries({"name": SCALARS, "template": SCALARS}), max_size=2)),
    "tokenizer_class": mostly(st.sampled_from(CLASSES)),
}
CONFIG_KEYS = {
    "model_type": mostly(st.sampled_from(["llama", "gpt2", "bert", "roberta"])),
    "max_position_embeddings": mostly(st.integers(1, 9)),
    **dict.fromkeys(("eos_token_id", "bos_token_id", "pad_token_id", "text_config", "tokenizer_class"), JSON),
    **dict.fromkeys(("quantization_config", "auto_map", "matryoshka_dimensions", "architectures"), mostly(st.none())),
}


def file_of(keys: dict[str, Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=keys)


MAP_KEYS = {key: TOKENIZER_KEYS[key] for key in (*NAMES, *LISTS)}
FILES = st.fixed_dictionaries(
    {"tokenizer_config.json": file_of(TOKENIZER_KEYS), "config.json": file_of(CONFIG_KEYS)},
    optional={
        "special_tokens_map.json": mostly(file_of(MAP_KEYS)),
        "added_tokens.json": st.dictionaries(st.text(max_size=3), st.integers(3, 6) | SCALARS, max_size=2),
        "generation_config.json": file_of(dict.fromkeys(("eos_token_id", "bos_token_id"), JSON)),
        "modules.json": mostly(st.just([{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}])),
        "sentence_bert_config.json": mostly(file_of({"max_seq_length": JSON})),
    },
)

ENCODER_ONLY = ("modules.json", "sentence_bert_config.json")


@pytest.fixture(scope="module")
def sentencepiece() -> bytes:
    return originals.train_sentencepiece(**originals.LLAMA)


def write_byte_level(folder: Path) -> None:
    (folder / "vocab.json").write_text('{"a": 0, "b": 1, "ab": 2}')
    (folder / "merges.txt").write_text("a b\n")


@pytest.mark.parametrize("kind", ["byte-level", "sentencepiece", "wordpiece"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(files=FILES)
def test_it_is_imported_or_refused(
    fakes: ModuleType, tmp_path_factory: pytest.TempPathFactory, sentencepiece: bytes, kind: str, files: dict[str, Any]
) -> None:
    base = tmp_path_factory.mktemp("fuzz")
    write: dict[str, Callable[[Path], object]] = {
        "byte-level": write_byte_level,
        "sentencepiece": lambda folder: (folder / "tokenizer.model").write_bytes(sentencepiece),
        "wordpiece": lambda folder: fakes.write_encoder_folder(folder),
    }
    folder = fakes.write_folder(base / "model")
    (folder / "tokenizer.json").unlink()
    write[kind](folder)
    base_files = {
        "config.json": json.loads((folder / "config.json").read_text()),
        "tokenizer_config.json": {"tokenizer_class": "GPT2Tokenizer"},
    }
    for name, values in files.items():
        if kind == "wordpiece" or name not in ENCODER_ONLY:
            whole = {**base_files[name], **values} if name in base_files else values
            (folder / name).write_text(json.dumps(whole), encoding="utf-8")
    try:
        version = Registry(base / "home", {}, 1.0).pull(f"file:{folder}", fakes.RecordingProgress())
        if version.kind == "decoder":
            load_model_files(Path(version.folder))
    except LLMOSError:
        pass


@pytest.mark.parametrize(
    "text",
    [
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": "\\ud800"}',
        '{"\\udfff": 1}',
        '{"a":' * 9000 + "1" + "}" * 9000,
        "[]",
    ],
    ids=lambda text: text[:14],
)
def test_json_that_could_not_be_written_again_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(PullError, match=r"config\.json: not .*JSON.* Mend it"):
        read_json(tmp_path / "config.json", "Mend it.")
