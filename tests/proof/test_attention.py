"""The attention that is shown equals Transformers' eager attention for every architecture that is served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_gguf_zoo
import torch
from test_encoder import inputs, save, tiny_model
from tiny_archs import SERVED, create
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, MODEL_MAPPING

from llmos_server.models.attention_maps import Maps, decoder_maps, encoder_maps, own_config
from llmos_server.registry.encoder_folders import ENCODER_TYPES
from llmos_server.registry.importing import import_gguf

pytestmark = pytest.mark.proof
PROMPT = [(i * i * 7 + i * 13) % 96 for i in range(40)]
TOLERANCE = 1e-3


def difference(maps: Maps, model: Any, token_ids: list[int]) -> float:
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        expected = torch.cat(model(torch.tensor([token_ids]), output_attentions=True).attentions)
    found = torch.stack(list(maps))
    assert found.shape == expected.shape
    return float((found - expected).abs().max())


@pytest.mark.parametrize("name", SERVED)
def test_decoders(name: str, tmp_path: Path, record_property: Callable[..., None]) -> None:
    model = create(name)
    model.save_pretrained(tmp_path)
    assert own_config(tmp_path) is None
    error = difference(decoder_maps(tmp_path, sorted(tmp_path.glob("*.safetensors")), PROMPT), model, PROMPT)
    record_property(f"attention of {name}", f"{error:.1e} from Transformers'")
    assert error < TOLERANCE


@pytest.mark.parametrize("name", test_gguf_zoo.CONFIGS)
def test_decoders_from_gguf(name: str, tmp_path: Path) -> None:
    model = test_gguf_zoo.create_model(name)
    path = test_gguf_zoo.write(tmp_path / "m.gguf", name, model)
    import_gguf(path, tmp_path)
    assert difference(decoder_maps(tmp_path, [path], PROMPT), model, PROMPT) < TOLERANCE


@pytest.mark.parametrize("mapping", [MODEL_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING])
@pytest.mark.parametrize("model_type", sorted(ENCODER_TYPES))
def test_encoders_and_classifiers(model_type: str, mapping: Any, tmp_path: Path) -> None:
    model = tiny_model(model_type, mapping)
    [path] = save(model, tmp_path)
    ids = inputs()[5]
    assert difference(encoder_maps(tmp_path, [Path(path)], ids), model, ids) < TOLERANCE
