"""Sequence classifiers against Transformers itself: tiny random models of every known architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_encoder import BATCH_NOISE, inputs, save, tiny_model
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from llmos_server.contracts import ClassifierSpec
from llmos_server.errors import UnsupportedModel
from llmos_server.models.classifier import load_text_classifier
from llmos_server.registry.encoder_folders import ENCODER_TYPES

LABELS = ["LABEL_0", "LABEL_1"]


def spec(labels: list[str] = LABELS) -> ClassifierSpec:
    return ClassifierSpec(labels=labels, activation="softmax", max_input_tokens=30)


def reference(model: Any, ids: list[int], second_start: int) -> torch.Tensor:
    """One input alone, so that no padding can matter; types as BERT's tokenizer makes them."""
    types = [int(place >= second_start) for place in range(len(ids))]
    has_types = getattr(model.config, "type_vocab_size", 0) > 1
    options = {"token_type_ids": torch.tensor([types])} if has_types else {}
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=torch.tensor([ids]), **options).logits[0]
    return logits


@pytest.mark.parametrize("model_type", sorted(ENCODER_TYPES))
def test_a_batch_equals_transformers_alone(model_type: str, tmp_path: Path) -> None:
    model = tiny_model(model_type, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING)
    classifier = load_text_classifier(tmp_path, save(model, tmp_path), spec(), "cpu")
    texts = inputs()
    starts = [max(1, len(ids) // 2) if place % 2 else len(ids) for place, ids in enumerate(texts)]
    together = classifier.classify(texts, starts)
    alone = torch.cat([classifier.classify([ids], [start]) for ids, start in zip(texts, starts, strict=True)])
    expected = torch.stack([reference(model, ids, start) for ids, start in zip(texts, starts, strict=True)])
    scale = float(expected.abs().max())
    assert (together - expected).abs().max() < 1e-5 * max(1, scale)
    assert (together - alone).abs().max() < BATCH_NOISE * max(1, scale)
    assert (expected[3] - expected[4]).abs().max() > 0.01, "the texts are too similar to tell anything"


def test_the_second_text_is_told_apart(tmp_path: Path) -> None:
    model = tiny_model("bert", MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING)
    classifier = load_text_classifier(tmp_path, save(model, tmp_path), spec(), "cpu")
    ids = inputs()[4]
    assert (classifier.classify([ids], [3]) - classifier.classify([ids], [len(ids)])).abs().max() > 0.01


def test_the_head_is_needed(tmp_path: Path) -> None:
    paths = save(tiny_model("bert", MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING), tmp_path)
    save_file({name: t for name, t in load_file(paths[0]).items() if not name.startswith("classifier.")}, paths[0])
    with pytest.raises(UnsupportedModel, match=r"The weights have no classifier\.bias"):
        load_text_classifier(tmp_path, paths, spec(), "cpu")


def test_another_number_of_labels_is_refused(tmp_path: Path) -> None:
    paths = save(tiny_model("bert", MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING), tmp_path)
    with pytest.raises(UnsupportedModel, match="don't fit"):
        load_text_classifier(tmp_path, paths, spec(["a", "b", "c"]), "cpu")
