"""A model of the registry as a folder that Transformers reads: what it computes is what the engine computes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tiny_model import save_model
from transformers import AutoModelForCausalLM

from llmos_server.contracts import ModelVersion
from llmos_server.registry.progress import QuietProgress
from llmos_server.registry.registry import Registry
from llmos_server.settings import EngineSettings
from llmos_server.training import base
from llmos_server.training.verify import EXACT_TOLERANCE, ask_engine, ask_trainer

pytestmark = pytest.mark.filterwarnings("ignore")  # Of Transformers, which warns of its versions to come.

SEQUENCES = [[3, 9, 4, 8, 5, 7, 6, 3, 4], [10, 4, 10, 4, 3]]


@pytest.fixture(scope="module")
def registry_fakes() -> ModuleType:
    spec = importlib.util.spec_from_file_location("registry_fakes", Path(__file__).parents[1] / "registry" / "fakes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def packed(tmp_path: Path, registry_fakes: ModuleType) -> ModelVersion:
    """A GGUF with rows in llama's own order, and packed ones."""
    path = registry_fakes.write_gguf(tmp_path / "tiny.gguf", types={"blk.0.ffn_down.weight": "Q8_0"})
    return pull(tmp_path, path)


def pull(tmp_path: Path, path: Path) -> ModelVersion:
    torch.set_num_threads(1)
    return Registry(tmp_path / "home", {}, 1.0).pull(f"file:{path}", QuietProgress())


def largest_difference(folder: Path, version: ModelVersion) -> float:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    engine = ask_engine(version, None, SEQUENCES, EngineSettings(cache_bytes=2**20), "exact")
    trained = ask_trainer(model, SEQUENCES)
    return max(abs(a - b) for a, b in zip(trained.logprobs, engine.logprobs, strict=True))


def test_a_gguf_is_unpacked_once(tmp_path: Path, packed: ModelVersion) -> None:
    told: list[str] = []
    folder = base.prepare_base(packed, tmp_path / "home", told.append)
    assert largest_difference(folder, packed) < EXACT_TOLERANCE
    assert base.prepare_base(packed, tmp_path / "home", told.append) == folder
    assert len(told) == 1


def test_a_large_one_is_written_in_shards(
    tmp_path: Path, packed: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "SHARD_BYTES", 4096)
    folder = base.prepare_base(packed, tmp_path / "home")
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 2
    assert largest_difference(folder, packed) < EXACT_TOLERANCE


def test_safetensors_stay_where_they_are(tmp_path: Path) -> None:
    version = pull(tmp_path, save_model(tmp_path / "tiny"))
    folder = base.prepare_base(version, tmp_path / "home")
    assert (folder / "model.safetensors").is_symlink()
    assert largest_difference(folder, version) < EXACT_TOLERANCE


def test_what_a_killed_conversion_left_is_not_taken(tmp_path: Path, packed: ModelVersion) -> None:
    digest = packed.digest.removeprefix("sha256:")
    left = tmp_path / "home" / "bases" / f".{digest}.staging"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"torn")
    folder = base.prepare_base(packed, tmp_path / "home")
    assert not left.exists()
    assert largest_difference(folder, packed) < EXACT_TOLERANCE


def test_special_tokens_are_those_of_serving(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "tiny")
    tokenizer = base.load_tokenizer(folder)
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 1)
