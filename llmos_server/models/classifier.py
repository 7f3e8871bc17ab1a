"""BERT-like encoders with a classification head through Transformers: token ids in, a number a label out."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from llmos_server.contracts import ClassifierSpec
from llmos_server.errors import UnsupportedModel
from llmos_server.models.encoder import load_model, pad, read_config


class TextClassifier:
    """One model in memory. As with embeddings, others in the batch change no more than the last bits."""

    def __init__(self, model: Any, spec: ClassifierSpec, device: str) -> None:
        self.spec = spec
        self.architecture = type(model).__name__
        self.vocab_size: int = model.get_input_embeddings().num_embeddings
        self.pad_id = model.config.pad_token_id or 0
        self._model = model
        self._device = device
        self._has_types = "token_type_ids" in inspect.signature(model.forward).parameters
        self._has_types &= getattr(model.config, "type_vocab_size", 0) > 1

    @torch.inference_mode()
    def classify(self, inputs: Sequence[Sequence[int]], second_starts: Sequence[int]) -> Tensor:
        """inputs: token ids, none empty, none longer than spec.max_input_tokens. second_starts: from where on each is
        the second text of a pair; its length if it is none.

        Returns the outputs before the activation, float32 [n, labels].
        """
        ids, mask = pad(inputs, self.pad_id, self._device)
        types = {}
        if self._has_types:
            starts = torch.tensor(second_starts, device=self._device)
            is_second = torch.arange(ids.shape[1], device=self._device) >= starts[:, None]
            types = {"token_type_ids": is_second.long() * mask}
        logits: Tensor = self._model(input_ids=ids, attention_mask=mask, **types).logits
        return logits.float().cpu()


def load_text_classifier(folder: Path, weights: Sequence[str], spec: ClassifierSpec, device: str) -> TextClassifier:
    """folder: with config.json, as the registry writes it. weights: safetensors.

    Raises UnsupportedModel for an architecture without such a head, and for weights that don't fit, naming one.
    """
    config = read_config(folder)
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise UnsupportedModel(f"Transformers has no sequence classifier for the model_type {config.model_type!r}.")
    config.num_labels = len(spec.labels)
    model = load_model(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)], config, weights, {})
    return TextClassifier(model.to(device), spec, device)
