"""Which token looks at which: the attention of a whole prompt, layer by layer, in exact float32.

The own decoder's weights are read a layer at a time and let go of, so that a model that is too large for the memory can
be looked at, too. Everything else is Transformers' own code with its eager attention, whole in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from llmos_server.errors import UnsupportedModel
from llmos_server.gguf.dequantize import dequantize
from llmos_server.kernels.base import Linear, PagedBatch
from llmos_server.kernels.reference import ReferenceKernels
from llmos_server.models.config import ModelConfig, load_values, read_config
from llmos_server.models.decoder import DecoderLayer
from llmos_server.models.names import EMBEDDING, ROPE_DIVISORS
from llmos_server.models.rope import rope_frequencies, rope_table
from llmos_server.models.weights import TensorSource, WeightLoader

CPU = torch.device("cpu")

Maps = Iterator[torch.Tensor]
"""Of each layer in turn: float32 [heads, queries, keys]. A row sums to 1, but where the architecture has sinks."""


def own_config(folder: Path) -> ModelConfig | None:
    """None where Transformers' code has to compute it. Raises UnsupportedModel for a config.json that can't be read."""
    values = load_values(folder)
    try:
        return read_config(values)
    except UnsupportedModel:
        return None


def decoder_maps(folder: Path, weights: Sequence[Path], token_ids: Sequence[int]) -> Maps:
    """By Transformers' code. Raises UnsupportedModel for a checkpoint that can't be computed."""
    from llmos_server.models.transformers_loading import load_transformers_model  # seconds, and memory

    return transformers_maps(load_transformers_model(folder, load_values(folder), weights, CPU, {}), token_ids)


def encoder_maps(folder: Path, weights: Sequence[Path], token_ids: Sequence[int]) -> Maps:
    """Of an encoder, with or without a classification head: a token sees all the others. Raises as decoder_maps."""
    from llmos_server.models.encoder import load_trunk

    return transformers_maps(load_trunk(folder, list(map(str, weights)), attn_implementation="eager"), token_ids)


def transformers_maps(model: Any, token_ids: Sequence[int]) -> Maps:
    """model: with eager attention. Raises UnsupportedModel for one that doesn't tell its attention."""
    options = {"use_cache": False} if hasattr(model.config, "use_cache") else {}
    with torch.inference_mode():
        output = model(input_ids=torch.tensor([token_ids]), output_attentions=True, **options)
    maps = getattr(output, "attentions", None)
    if not maps or any(layer is None or layer.dim() != 4 for layer in maps):
        raise UnsupportedModel(f"{model.config.model_type}: Transformers' code doesn't tell its attention.")
    layers = list(maps)
    del model, output, maps  # Who asks for the next layer may take a minute.
    while layers:
        yield layers.pop(0)[0].float()


@torch.inference_mode()
def own_maps(config: ModelConfig, source: TensorSource, token_ids: Sequence[int]) -> Maps:
    """The Llama-shaped decoder's. Holds one layer's weights at a time."""
    loader = WeightLoader(source, CPU)
    attention = WholePrompt(config.num_heads // config.num_kv_heads, float(config.head_dim) ** -0.5)
    divisors = loader.load(ROPE_DIVISORS) if loader.has(ROPE_DIVISORS) else None
    rotation = rope_table(rope_frequencies(config.rope, config.head_dim, divisors), len(token_ids))
    kernels = PlainKernels(CPU)
    x = embed(source, token_ids)
    masks = {window: hidden_from(len(token_ids), window) for window in set(config.windows)}
    for index, window in enumerate(config.windows):
        layer = DecoderLayer(config, kernels, attention, loader, index)
        x = layer(x, rotation, NO_CACHE, masks[window])
        del layer
        yield attention.weights


def embed(source: TensorSource, token_ids: Sequence[int]) -> torch.Tensor:
    """float32 [tokens, hidden]. Of a packed matrix, only these rows become floats."""
    if not source.is_packed(EMBEDDING):
        return source.read(EMBEDDING)[list(token_ids)].float()
    packed = source.stored(EMBEDDING)
    blocks = packed.blocks[list(token_ids)]
    shape = len(token_ids), source.shapes[EMBEDDING][1]
    return torch.from_numpy(dequantize(blocks.reshape(-1), packed.type_name, shape))


def hidden_from(num_tokens: int, window: int | None) -> torch.Tensor:
    """bool [queries, keys]: which keys a query doesn't see."""
    place = torch.arange(num_tokens)
    distance = place[:, None] - place[None, :]
    return (distance < 0) | (distance >= (window or num_tokens))


NO_CACHE: Any = None


class WholePrompt:
    """A kernels.base.Attention over one whole prompt: without pages, and what it weighed is kept."""

    weights: torch.Tensor
    """Of the last call: [heads, queries, keys]."""

    def __init__(self, group_size: int, scale: float) -> None:
        """group_size: query heads that share one KV head."""
        self._group_size = group_size
        self._scale = scale

    def plan(self, batch: PagedBatch, window: int | None) -> torch.Tensor:
        return hidden_from(batch.num_rows, window)

    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        cache: Any,
        plan: torch.Tensor,
        sinks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        assert sinks is None
        keys, values = (each.repeat_interleave(self._group_size, dim=1) for each in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q, keys) * self._scale
        self.weights = scores.masked_fill_(plan, float("-inf")).softmax(-1)
        return torch.einsum("hqk,khd->qhd", self.weights, values).reshape(q.shape[0], -1)


class PlainKernels(ReferenceKernels):
    """Products as torch computes them: nobody compares bits here, and trying out which of them agree takes long."""

    def linear(self, weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
        return lambda x: F.linear(x, weight, bias)
