"""The torch side of an encoder's worker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch

from llmos_server.contracts import CLASSIFIER_SPEC, ENCODER_SPEC, ClassifierSpec, EncoderInfo, EncoderSpec
from llmos_server.engine.encoder_core import EncoderRunner
from llmos_server.engine.messages import EncoderConfig
from llmos_server.errors import UnsupportedModel
from llmos_server.models.classifier import TextClassifier, load_text_classifier
from llmos_server.models.encoder import TextEncoder, load_text_encoder

MAX_TRIAL_TOKENS = 512


class TorchEncoderRunner:
    """Implements EncoderRunner."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    def encode(self, inputs: Sequence[Sequence[int]], second_starts: Sequence[int]) -> list[bytes]:
        """An embedding is of one text."""
        return _rows(self._encoder.embed(inputs))


class TorchClassifierRunner:
    """Implements EncoderRunner."""

    def __init__(self, classifier: TextClassifier) -> None:
        self._classifier = classifier

    def encode(self, inputs: Sequence[Sequence[int]], second_starts: Sequence[int]) -> list[bytes]:
        return _rows(self._classifier.classify(inputs, second_starts))


def _rows(vectors: torch.Tensor) -> list[bytes]:
    return [row.tobytes() for row in vectors.numpy().astype("<f4", copy=False)]


def create_encoder_runner(config: EncoderConfig) -> tuple[EncoderRunner, EncoderInfo]:
    """Load the model and try it. Raises UnsupportedModel for what can't be served."""
    if Path(config.model_folder, CLASSIFIER_SPEC).is_file():
        return create_classifier_runner(config)
    started = time.monotonic()
    torch.set_num_threads(config.threads)
    spec = msgspec.json.decode(Path(config.model_folder, ENCODER_SPEC).read_bytes(), type=EncoderSpec)
    encoder = load_text_encoder(Path(config.model_folder), config.weights, spec, config.device)
    # At full length, as far as that takes no time: a limit that the model doesn't hold shows here, not at a request.
    token = 0 if encoder.pad_id else 1
    trial = encoder.embed([[token] * min(spec.max_input_tokens, MAX_TRIAL_TOKENS)])
    info = EncoderInfo(
        model_digest=config.model_digest,
        architecture=encoder.architecture,
        dtype="float32",
        device=config.device,
        vocab_size=encoder.vocab_size,
        max_input_tokens=spec.max_input_tokens,
        num_dimensions=trial.shape[1],
        load_seconds=time.monotonic() - started,
        is_matryoshka=spec.is_matryoshka,
        matryoshka_dimensions=[size for size in spec.matryoshka_dimensions if size < trial.shape[1]],
    )
    return TorchEncoderRunner(encoder), info


def create_classifier_runner(config: EncoderConfig) -> tuple[TorchClassifierRunner, EncoderInfo]:
    """The same for an encoder with a classification head."""
    started = time.monotonic()
    torch.set_num_threads(config.threads)
    spec = msgspec.json.decode(Path(config.model_folder, CLASSIFIER_SPEC).read_bytes(), type=ClassifierSpec)
    classifier = load_text_classifier(Path(config.model_folder), config.weights, spec, config.device)
    length = min(spec.max_input_tokens, MAX_TRIAL_TOKENS)
    trial = classifier.classify([[0 if classifier.pad_id else 1] * length], [length // 2])
    if trial.shape[1] != len(spec.labels):
        raise UnsupportedModel(f"The model has {trial.shape[1]} outputs, and config.json names {len(spec.labels)}.")
    info = EncoderInfo(
        model_digest=config.model_digest,
        architecture=classifier.architecture,
        dtype="float32",
        device=config.device,
        vocab_size=classifier.vocab_size,
        max_input_tokens=spec.max_input_tokens,
        num_dimensions=len(spec.labels),
        load_seconds=time.monotonic() - started,
        labels=spec.labels,
        activation=spec.activation,
    )
    return TorchClassifierRunner(classifier), info
