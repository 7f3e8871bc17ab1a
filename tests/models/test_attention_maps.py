"""The attention of a whole prompt equals Transformers' eager attention, in all layers and heads. test_smollm2.py has
the default model's."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_archs import create
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel, PreTrainedModel

from llmos_server.contracts import ModelVersion
from llmos_server.errors import UnsupportedModel
from llmos_server.models import attention_maps
from llmos_server.models.attention_maps import decoder_maps, encoder_maps, own_config, own_maps
from llmos_server.models.decoder import DecoderLayer
from llmos_server.models.weights import open_weights

PROMPT = [(i * i * 7 + i * 13) % 96 for i in range(24)]
TOLERANCE = 1e-3
"""What is promised; float32 in another order stays far below."""


def expected_maps(model: PreTrainedModel, token_ids: list[int]) -> torch.Tensor:
    """[layers, heads, queries, keys]"""
    with torch.inference_mode():
        return torch.cat(model(torch.tensor([token_ids]), output_attentions=True).attentions)


def own(folder: Path, weights: list[Path], token_ids: list[int]) -> torch.Tensor:
    config = own_config(folder)
    assert config is not None
    return torch.stack(list(own_maps(config, open_weights(weights, config), token_ids)))


def check(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < tolerance


def test_the_own_decoder(any_checkpoint: Any) -> None:
    """Every family with what sets it apart: shared KV heads, windows, biases, norms of heads, scaled RoPE."""
    weights = sorted(any_checkpoint.folder.glob("*.safetensors"))
    found = own(any_checkpoint.folder, weights, PROMPT)
    check(found, expected_maps(any_checkpoint.reference, PROMPT))
    assert not found.triu(1).any()
    assert torch.allclose(found.sum(-1), torch.ones(()), atol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "qwen3_moe", "deepseek_v3", "gpt_oss"])
def test_other_architectures(name: str, tmp_path: Path) -> None:
    model = create(name)
    model.save_pretrained(tmp_path)
    assert own_config(tmp_path) is None
    weights = sorted(tmp_path.glob("*.safetensors"))
    check(torch.stack(list(decoder_maps(tmp_path, weights, PROMPT))), expected_maps(model, PROMPT))


def test_an_architecture_that_has_no_attention(tmp_path: Path) -> None:
    model = create("mamba")
    model.save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModel, match="doesn't tell its attention"):
        next(decoder_maps(tmp_path, sorted(tmp_path.glob("*.safetensors")), PROMPT))


@pytest.mark.real_model
def test_the_default_model_for_embeddings(minilm: ModelVersion) -> None:
    """Tokens see those behind them, too."""
    folder, weights = Path(minilm.folder), [Path(path) for path in minilm.weights]
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("A dog runs through the park.").ids
    model = AutoModel.from_config(AutoConfig.from_pretrained(folder), attn_implementation="eager").float().eval()
    assert model.load_state_dict(load_file(weights[0]), strict=False).missing_keys == []
    found = torch.stack(list(encoder_maps(folder, weights, ids)))
    assert found.shape[:2] == (6, 12)
    assert found.triu(1).any()
    check(found, expected_maps(model, ids), TOLERANCE)


def test_one_layers_weights_are_in_memory_at_a_time(
    checkpoint: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is read when its turn comes, and let go of before the next one."""
    living: weakref.WeakSet[DecoderLayer] = weakref.WeakSet()
    most: list[int] = []

    class Watched(DecoderLayer):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            living.add(self)
            most.append(len(living))

    monkeypatch.setattr(attention_maps, "DecoderLayer", Watched)
    tiny = checkpoint("llama", num_hidden_layers=3)
    config = own_config(tiny.folder)
    assert config is not None
    maps = own_maps(config, open_weights(sorted(tiny.folder.glob("*.safetensors")), config), PROMPT)
    next(maps)
    assert (most, len(living)) == ([1], 0)
    list(maps)
    assert most == [1, 1, 1]
