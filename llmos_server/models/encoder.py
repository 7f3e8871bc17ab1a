"""BERT-like encoders through Transformers: token ids in, one float32 vector a text out.

Pooling and normalisation as in sentence-transformers, without depending on it: the mean counts every token that is not
padding, special ones included; cls is the first token's vector; max is taken in each dimension.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import MODEL_MAPPING, AutoConfig
from transformers.utils import logging

from llmos_server.contracts import EncoderSpec
from llmos_server.errors import UnsupportedModel

UNUSED = ("pooler.",)
"""Weights that embeddings don't need, so that a checkpoint may lack them."""


class TextEncoder:
    """One model in memory. What a text's vector is doesn't depend on the others of its batch, but for the last bits
    (a few 1e-7): sums over padding are zeros, yet kernels add in another order."""

    def __init__(self, model: Any, spec: EncoderSpec, device: str) -> None:
        self.spec = spec
        self.architecture = type(model).__name__
        self.vocab_size: int = model.get_input_embeddings().num_embeddings
        self._model = model
        self._device = device
        self.pad_id = model.config.pad_token_id or 0

    @torch.inference_mode()
    def embed(self, inputs: Sequence[Sequence[int]]) -> Tensor:
        """inputs: token ids, none empty, none longer than spec.max_input_tokens. Returns float32 [n, dimensions]."""
        ids, mask = pad(inputs, self.pad_id, self._device)
        hidden = self._model(input_ids=ids, attention_mask=mask)[0]
        pooled = self._pool(hidden, mask[:, :, None])
        if self.spec.normalize:
            pooled = torch.nn.functional.normalize(pooled, dim=1)
        return pooled.float().cpu()

    def _pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """hidden: [n, width, dimensions]. mask: [n, width, 1], 0 at padding."""
        if self.spec.pooling == "cls":
            return hidden[:, 0]
        if self.spec.pooling == "max":
            return hidden.masked_fill(mask == 0, float("-inf")).amax(1)
        return (hidden * mask).sum(1) / mask.sum(1)


def pad(inputs: Sequence[Sequence[int]], pad_id: int, device: str) -> tuple[Tensor, Tensor]:
    """Token ids [n, width], and the mask of the same shape, 0 at padding."""
    width = max(map(len, inputs))
    ids = torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in inputs], device=device)
    lengths = torch.tensor([len(row) for row in inputs], device=device)
    return ids, (torch.arange(width, device=device) < lengths[:, None]).long()


def load_text_encoder(folder: Path, weights: Sequence[str], spec: EncoderSpec, device: str) -> TextEncoder:
    """folder: with config.json, as the registry writes it. weights: safetensors.

    Raises UnsupportedModel for weights that don't fit the architecture, naming one.
    """
    return TextEncoder(load_trunk(folder, weights).to(device), spec, device)


def load_trunk(folder: Path, weights: Sequence[str], **options: Any) -> Any:
    """The model without any head, on the CPU. options: of from_pretrained. Raises as load_text_encoder."""
    config = read_config(folder)
    model_class: Any = MODEL_MAPPING[type(config)]
    if "add_pooling_layer" in inspect.signature(model_class).parameters:
        options["add_pooling_layer"] = False
    return load_model(model_class, config, weights, options, may_lack=UNUSED)


def read_config(folder: Path) -> Any:
    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def load_model(
    model_class: Any, config: Any, weights: Sequence[str], options: dict[str, Any], *, may_lack: tuple[str, ...] = ()
) -> Any:
    """In float32, for inference. options: of its constructor. may_lack: begins of names of weights.

    Raises UnsupportedModel for weights that don't fit, naming one.
    """
    state: dict[str, Tensor] = {}
    for path in weights:
        state |= load_file(path)
    with _quiet():
        try:
            model, found = model_class.from_pretrained(
                None, config=config, state_dict=state, dtype=torch.float32, output_loading_info=True, **options
            )
        except RuntimeError as error:  # How the library tells of shapes that don't fit.
            raise UnsupportedModel(f"The weights don't fit {model_class.__name__}: {error}.") from error
    missing = sorted(name for name in found["missing_keys"] if not name.startswith(may_lack))
    if missing:
        raise UnsupportedModel(f"The weights have no {missing[0]}, which {model_class.__name__} needs.")
    return model.eval().requires_grad_(False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar, and no report of heads that embeddings don't use."""
    log: Any = logging
    verbosity, has_bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if has_bars:
            log.enable_progress_bar()
