"""Encoders against Transformers itself: tiny random models of every known architecture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CONFIG_MAPPING, MODEL_FOR_MASKED_LM_MAPPING, MODEL_MAPPING

from llmos_server.contracts import EncoderSpec, PoolingKind
from llmos_server.errors import UnsupportedModel
from llmos_server.models.encoder import load_text_encoder
from llmos_server.registry.encoder_folders import ENCODER_TYPES

VOCAB_SIZE = 97
LENGTHS = (1, 2, 3, 5, 8, 13, 21, 30, 30, 7)
BATCH_NOISE = 3e-6
"""What an embedding may change by with its batch: the last bits of float32 sums, which processors group differently."""

SIZES: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 40, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 16},
    "deberta": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 8},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "electra": {"embedding_size": 16},
    "eurobert": {"num_key_value_heads": 2},
    "modernbert": {"local_attention": 8, "global_attn_every_n_layers": 2, "cls_token_id": 0, "sep_token_id": 2},
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "roformer": {"embedding_size": 16},
}


def tiny_model(model_type: str, mapping: Any = MODEL_MAPPING) -> Any:
    config = CONFIG_MAPPING[model_type](**SIZES, **OWN.get(model_type, {}))
    torch.manual_seed(3)
    model = mapping[type(config)](config).eval()
    with torch.no_grad():  # Their initialisation is so narrow that attention would hardly matter.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)
    return model


def save(model: Any, folder: Path) -> list[str]:
    model.config.save_pretrained(folder)
    save_file(
        {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}, folder / "w.safetensors"
    )
    return [str(folder / "w.safetensors")]


def spec(pooling: PoolingKind = "mean", normalize: bool = True) -> EncoderSpec:
    return EncoderSpec(pooling=pooling, normalize=normalize, max_input_tokens=30)


def inputs(lengths: Sequence[int] = LENGTHS) -> list[list[int]]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(3, VOCAB_SIZE, (length,), generator=generator).tolist() for length in lengths]


def reference(model: Any, ids: list[int], pooling: str, normalize: bool) -> torch.Tensor:
    """One text alone, so that no padding can matter."""
    with torch.inference_mode():
        hidden = model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))[0][0]
    pooled = {"mean": hidden.mean(0), "cls": hidden[0], "max": hidden.max(0).values}[pooling]
    return pooled / pooled.norm() if normalize else pooled


@pytest.mark.parametrize("model_type", sorted(ENCODER_TYPES))
def test_a_batch_equals_transformers_alone(model_type: str, tmp_path: Path) -> None:
    model = tiny_model(model_type)
    encoder = load_text_encoder(tmp_path, save(model, tmp_path), spec(), "cpu")
    texts = inputs()
    together = encoder.embed(texts)
    alone = torch.cat([encoder.embed([ids]) for ids in texts])
    expected = torch.stack([reference(model, ids, "mean", True) for ids in texts])
    assert (together - expected).abs().max() < 1e-5
    assert (together - alone).abs().max() < BATCH_NOISE
    assert together.dtype == torch.float32
    assert (expected[0] - expected[1]).abs().max() > 0.01, "the texts are too similar to tell anything"


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("normalize", [True, False])
def test_poolings(pooling: PoolingKind, normalize: bool, tmp_path: Path) -> None:
    model = tiny_model("bert")
    encoder = load_text_encoder(tmp_path, save(model, tmp_path), spec(pooling, normalize), "cpu")
    expected = torch.stack([reference(model, ids, pooling, normalize) for ids in inputs()])
    assert torch.allclose(encoder.embed(inputs()), expected, atol=1e-5)


@pytest.mark.parametrize("model_type", ["bert", "roberta", "distilbert", "modernbert"])
def test_a_masked_language_models_head_is_not_needed(model_type: str, tmp_path: Path) -> None:
    model = tiny_model(model_type, MODEL_FOR_MASKED_LM_MAPPING)
    encoder = load_text_encoder(tmp_path, save(model, tmp_path), spec(), "cpu")
    expected = reference(model.base_model, inputs()[4], "mean", True)
    assert torch.allclose(encoder.embed(inputs())[4], expected, atol=1e-5)


def test_half_precision_weights_are_computed_in_float32(tmp_path: Path) -> None:
    model = tiny_model("bert").half().float()
    paths = save(model, tmp_path)
    save_file({name: t.half() if t.is_floating_point() else t for name, t in load_file(paths[0]).items()}, paths[0])
    encoder = load_text_encoder(tmp_path, paths, spec(), "cpu")
    expected = reference(model, inputs()[3], "mean", True)
    assert torch.allclose(encoder.embed(inputs())[3], expected, atol=1e-6)


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    paths = save(tiny_model("bert"), tmp_path)
    state = load_file(paths[0])
    name = "encoder.layer.1.attention.self.query.weight"
    save_file({key: tensor for key, tensor in state.items() if key != name}, paths[0])
    with pytest.raises(UnsupportedModel, match=f"The weights have no {name}"):
        load_text_encoder(tmp_path, paths, spec(), "cpu")
    save_file({**state, name: torch.zeros(3, 3)}, paths[0])
    with pytest.raises(UnsupportedModel, match="don't fit"):
        load_text_encoder(tmp_path, paths, spec(), "cpu")


def test_the_pooler_is_not_needed(tmp_path: Path) -> None:
    paths = save(tiny_model("bert"), tmp_path)
    save_file({name: t for name, t in load_file(paths[0]).items() if not name.startswith("pooler.")}, paths[0])
    assert load_text_encoder(tmp_path, paths, spec(), "cpu").embed([[5]]).shape == (1, 32)
