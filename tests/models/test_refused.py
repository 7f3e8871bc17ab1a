"""Decoders that can't run over pages are refused by name when they are loaded, with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_archs
import torch
from safetensors.torch import load_file, save_file

from llmos_server.engine.model_runner import create_runner
from llmos_server.errors import UnsupportedModel
from llmos_server.registry.decoder_config import NOT_PAGED, check_config

BY_CONFIG = {"bert", "lfm2", "llama4_text"}
"""Refused for what their config says; others of the type may run."""

Load = Callable[[Path], Any]


@pytest.fixture
def load(make_worker_config: Callable[..., Any]) -> Load:
    def run(folder: Path) -> Any:
        torch.set_num_threads(1)
        weights = sorted(str(path) for path in folder.glob("*.safetensors"))
        return create_runner(make_worker_config(folder, weights, 4, 2**22))

    return run


@pytest.mark.parametrize("model_type", sorted(tiny_archs.REFUSED))
def test_by_the_worker(load: Load, tmp_path: Path, model_type: str) -> None:
    tiny_archs.create(model_type).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModel, match=f"'{model_type}' can't be served.*{tiny_archs.REFUSED[model_type][1]}"):
        load(tmp_path)


@pytest.mark.parametrize("model_type", sorted(NOT_PAGED))
def test_by_the_registry(model_type: str) -> None:
    assert model_type in tiny_archs.REFUSED.keys() - BY_CONFIG
    with pytest.raises(UnsupportedModel, match=f"'{model_type}' can't be served"):
        check_config({"model_type": model_type, "max_position_embeddings": 64})


def test_the_registry_knows_all_that_never_run() -> None:
    assert tiny_archs.REFUSED.keys() - BY_CONFIG == NOT_PAGED


def save_gpt2(folder: Path, **config: Any) -> Path:
    tiny_archs.create("gpt2").save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return folder


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "mine"}, "Transformers .* has no model_type 'mine'"),
        (
            {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "modeling_mine.Mine"}},
            "Its code is in the repository .*not run",
        ),
        ({"architectures": ["GPT2ForSequenceClassification"]}, "GPT2ForSequenceClassification.*GPT2LMHeadModel"),
        ({"n_head": 5}, "gpt2: Transformers can't build it"),
        ({"n_embd": "wide"}, "Transformers .* can't read it"),
        ({"model_type": "t5", "architectures": None}, "is none"),
    ],
)
def test_configs_that_transformers_can_make_nothing_of(
    load: Load, tmp_path: Path, config: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnsupportedModel, match=reason):
        load(save_gpt2(tmp_path, **config))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"transformer.h.1.mlp.c_fc.bias": None}, r"lack transformer\.h\.1\.mlp\.c_fc\.bias"),
        ({"transformer.h.2.extra": torch.ones(1)}, r"hold unexpected .*h\.2\.extra"),
        ({"transformer.ln_f.weight": torch.ones(7)}, r"ln_f\.weight"),
        ({"transformer.ln_f.weight": torch.ones(64, dtype=torch.int8)}, "of type I8"),
    ],
)
def test_weights_that_dont_fit(load: Load, tmp_path: Path, change: dict[str, torch.Tensor | None], reason: str) -> None:
    path = save_gpt2(tmp_path) / "model.safetensors"
    tensors = load_file(path) | change
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)
    with pytest.raises(UnsupportedModel, match=reason):
        load(tmp_path)


def test_masks_of_old_checkpoints_are_left_out(load: Load, tmp_path: Path) -> None:
    path = save_gpt2(tmp_path) / "model.safetensors"
    masks = {f"transformer.h.{i}.attn.bias": torch.ones(1, 1, 256, 256, dtype=torch.uint8) for i in range(2)}
    save_file(load_file(path) | masks, path)
    load(tmp_path)


def test_no_pickle_is_read_and_no_code_run(load: Load, tmp_path: Path) -> None:
    """Neither is looked at, though Transformers would find both."""
    folder = save_gpt2(tmp_path, auto_map={"AutoModelForCausalLM": "modeling_mine.Mine"})
    (folder / "pytorch_model.bin").write_bytes(b"no pickle")
    (folder / "modeling_mine.py").write_text("raise SystemExit('this code was run')")
    load(folder)
