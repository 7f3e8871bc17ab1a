"""The table of Transformers' decoders, read without importing it."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from huggingface_hub import constants

from llmos_server.errors import UnsupportedModel
from llmos_server.registry.decoder_config import check_config
from llmos_server.registry.known_types import causal_types
from llmos_server.registry.registry import Registry


def test_it_is_what_the_worker_will_find() -> None:
    modeling_auto = pytest.importorskip("transformers.models.auto.modeling_auto")
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    assert causal_types() == set(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert causal_types() <= set(CONFIG_MAPPING)


@pytest.mark.parametrize("model_type", ["mine", "t5"])
def test_an_unknown_type_is_refused(model_type: str) -> None:
    with pytest.raises(UnsupportedModel, match=f"no model_type '{model_type}' that generates text"):
        check_config({"model_type": model_type, "max_position_embeddings": 8})


@pytest.fixture
def hub(fakes: ModuleType, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    source = fakes.write_folder(tmp_path / "repo", model_type="mine")
    with fakes.FakeHub("org/model", {path.name: path.read_bytes() for path in source.iterdir()}) as server:
        yield server


def test_a_repository_is_refused_before_its_weights(fakes: ModuleType, tmp_path: Any, hub: Any) -> None:
    with pytest.raises(UnsupportedModel, match="no model_type 'mine'"):
        Registry(tmp_path / "home", {}, 5.0, hub_endpoint=hub.endpoint).pull("hf:org/model", fakes.RecordingProgress())
    assert "model.safetensors" not in {name for name, _ in hub.downloads}
