"""Encoders with a classification head in the Hugging Face layout: sequence classifiers, cross-encoders among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from llmos_server.contracts import CLASSIFIER_SPEC, Activation, ClassifierSpec
from llmos_server.errors import UnsupportedModel
from llmos_server.registry.encoder_folders import MODULES, check_encoder_config, import_text_side, max_input_tokens
from llmos_server.registry.importing import write_json
from llmos_server.registry.json_files import optional_json, read_json

HEAD = "ForSequenceClassification"
DECODER_TYPES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "phi", "phi3", "smollm3", "gpt2", "gpt_neox")
"""Decoders that can have such a head: it reads the last token, which has seen all others."""
MAX_LABELS = 10_000
DEFAULT_LABELS = 2
"""How many Transformers takes where a config doesn't say."""
ACTIVATIONS: dict[str, Activation] = {"Identity": "identity", "Sigmoid": "sigmoid", "Softmax": "softmax"}
PROBLEMS: dict[str, Activation] = {
    "regression": "identity",
    "single_label_classification": "softmax",
    "multi_label_classification": "sigmoid",
}


def is_classifier(folder: Path) -> bool:
    """Whether a checkpoint's architecture is a sequence classifier; with modules.json it is there for embeddings."""
    names = read_json(folder / "config.json", "It is no model in the Hugging Face layout.").get("architectures")
    is_named = isinstance(names, list) and any(isinstance(name, str) and name.endswith(HEAD) for name in names)
    return is_named and not (folder / MODULES).is_file()


def import_classifier(source: Path, target: Path) -> ClassifierSpec:
    """Write the config, tokenizer and classifier.json of `source` into `target`.

    Raises PullError for missing or broken files, UnsupportedModel for a model that can't be served, naming why.
    """
    spec = read_classifier_spec(source)
    import_text_side(source, target)
    write_json(target / CLASSIFIER_SPEC, msgspec.to_builtins(spec))
    return spec


def read_classifier_spec(folder: Path) -> ClassifierSpec:
    """What the small files say; needs neither weights nor tokenizer. Raises as import_classifier does."""
    config = read_json(folder / "config.json", "It is no model in the Hugging Face layout.")
    if config.get("model_type") not in DECODER_TYPES or config.get("quantization_config"):
        check_encoder_config(config)
    labels = _labels(config)
    return ClassifierSpec(
        labels=labels,
        activation=_activation(config, len(labels)),
        max_input_tokens=max_input_tokens(folder, config, optional_json(folder / "sentence_bert_config.json")),
    )


def _labels(config: dict[str, Any]) -> list[str]:
    named = config.get("id2label")
    if named is None:
        num = config.get("num_labels", DEFAULT_LABELS)
        if type(num) is not int or not 1 <= num <= MAX_LABELS:
            raise UnsupportedModel(f"config.json: num_labels is {num!r:.100}; 1 to {MAX_LABELS} are needed.")
        return [f"LABEL_{index}" for index in range(num)]
    if not isinstance(named, dict) or not 1 <= len(named) <= MAX_LABELS:
        raise UnsupportedModel(f"config.json: id2label names no labels, or more than {MAX_LABELS}.")
    labels = [named.get(str(index)) for index in range(len(named))]
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) != len(labels):
        raise UnsupportedModel("config.json: id2label has to give each number from 0 on a label of its own.")
    return [str(label) for label in labels]


def _activation(config: dict[str, Any], num_labels: int) -> Activation:
    """What sentence-transformers wrote down for a cross-encoder, else what suits the problem that it was trained for,
    else a sigmoid for one output and softmax for several (as vLLM has it)."""
    own = config.get("sentence_transformers")
    named = own.get("activation_fn") if isinstance(own, dict) else None
    named = named or config.get("sbert_ce_default_activation_function")
    if named is not None:
        activation = ACTIVATIONS.get(str(named).rpartition(".")[2])
        if activation is None:
            raise UnsupportedModel(
                f"config.json: the activation {named!r:.100} is not supported; {', '.join(sorted(ACTIVATIONS))} are."
            )
        return activation
    problem = config.get("problem_type")
    if problem is None:
        return "sigmoid" if num_labels == 1 else "softmax"
    if problem not in PROBLEMS:
        raise UnsupportedModel(f"config.json: problem_type is {problem!r:.100}; known are {', '.join(PROBLEMS)}.")
    return PROBLEMS[problem]
