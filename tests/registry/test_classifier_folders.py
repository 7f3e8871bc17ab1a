"""Which folders are classifiers, and what they say of a text."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from llmos_server.errors import UnsupportedModel
from llmos_server.registry.classifier_folders import is_classifier, read_classifier_spec
from llmos_server.registry.registry import Registry

HEAD = ["BertForSequenceClassification"]
IDENTITY = "torch.nn.modules.linear.Identity"


def write(fakes: ModuleType, path: Path, **config: Any) -> Path:
    folder: Path = fakes.write_encoder_folder(path, modules=None, **{"architectures": HEAD, **config})
    return folder


def test_an_import_is_a_classifier(fakes: ModuleType, tmp_path: Path, registry: Registry) -> None:
    source = write(fakes, tmp_path / "m", id2label={"0": "bad", "1": "good"})
    version = registry.pull(f"file:{source}", fakes.RecordingProgress())
    assert (version.kind, version.context_length) == ("classifier", 64)
    folder = Path(version.folder)
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "classifier.json",
    }
    spec = json.loads((folder / "classifier.json").read_text())
    assert spec == {"labels": ["bad", "good"], "activation": "softmax", "max_input_tokens": 64}
    (source / "config.json").write_text((source / "config.json").read_text().replace("good", "fine"))
    assert registry.pull(f"file:{source}", fakes.RecordingProgress()).digest != version.digest


@pytest.mark.parametrize(
    ("config", "labels", "activation"),
    [
        ({}, ["LABEL_0", "LABEL_1"], "softmax"),
        ({"num_labels": 3}, ["LABEL_0", "LABEL_1", "LABEL_2"], "softmax"),
        ({"id2label": {"0": "LABEL_0"}}, ["LABEL_0"], "sigmoid"),
        ({"id2label": {"1": "b", "0": "a"}}, ["a", "b"], "softmax"),
        ({"id2label": {"0": "x"}, "sentence_transformers": {"activation_fn": IDENTITY}}, ["x"], "identity"),
        ({"id2label": {"0": "x"}, "sbert_ce_default_activation_function": IDENTITY}, ["x"], "identity"),
        ({"id2label": {"0": "x"}, "problem_type": "regression"}, ["x"], "identity"),
        ({"problem_type": "multi_label_classification"}, ["LABEL_0", "LABEL_1"], "sigmoid"),
        ({"problem_type": "single_label_classification"}, ["LABEL_0", "LABEL_1"], "softmax"),
        ({"sentence_transformers": {"version": "5.0"}}, ["LABEL_0", "LABEL_1"], "softmax"),
    ],
)
def test_labels_and_activation(
    fakes: ModuleType, tmp_path: Path, config: dict[str, Any], labels: list[str], activation: str
) -> None:
    spec = read_classifier_spec(write(fakes, tmp_path / "m", **config))
    assert (spec.labels, spec.activation) == (labels, activation)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"id2label": {}}, "id2label"),
        ({"id2label": ["a"]}, "id2label"),
        ({"id2label": {"0": "a", "2": "b"}}, "id2label"),
        ({"id2label": {"0": "a", "1": "a"}}, "id2label"),
        ({"id2label": {"0": 5}}, "id2label"),
        ({"num_labels": 0}, "num_labels"),
        ({"num_labels": True}, "num_labels"),
        ({"problem_type": "magic"}, "problem_type"),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}}, "activation"),
        ({"model_type": "mamba"}, "model_type"),
        ({"is_decoder": True}, "is_decoder"),
        ({"max_position_embeddings": 0}, "max_position_embeddings"),
    ],
)
def test_refused_by_name(fakes: ModuleType, tmp_path: Path, config: dict[str, Any], told: str) -> None:
    with pytest.raises(UnsupportedModel, match=told):
        read_classifier_spec(write(fakes, tmp_path / "m", **config))


def test_other_folders_are_no_classifiers(fakes: ModuleType, tmp_path: Path) -> None:
    assert not is_classifier(write(fakes, tmp_path / "plain", architectures=["BertModel"]))
    assert not is_classifier(write(fakes, tmp_path / "odd", architectures="BertForSequenceClassification"))
    assert not is_classifier(fakes.write_encoder_folder(tmp_path / "embeds", architectures=HEAD))
    assert is_classifier(write(fakes, tmp_path / "head"))
