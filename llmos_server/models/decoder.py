"""The Llama-shaped decoder: Llama, Mistral, Qwen2, Qwen3 and SmolLM differ only in what ModelConfig says.

No state between calls: the batch and the cache are arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from llmos_server.kernels.base import Attention, HeadLayout, Kernels, LayerCache, Linear, PagedBatch
from llmos_server.models.adapted_products import NOT_ADAPTED, Adapted, ExactAdapter
from llmos_server.models.adapter_files import Updates
from llmos_server.models.config import ModelConfig
from llmos_server.models.names import EMBEDDING, FINAL_NORM, HEAD, ROPE_DIVISORS, layer_prefix
from llmos_server.models.rope import rope_frequencies, rope_table
from llmos_server.models.weights import WeightLoader


class DecoderLayer:
    """Attention and feed-forward with their norms; q, k and v are one product, gate and up another."""

    def __init__(
        self, config: ModelConfig, kernels: Kernels, attention: Attention, loader: WeightLoader, index: int
    ) -> None:
        self._config = config
        self._kernels = kernels
        self._attention = attention
        self._index = index
        prefix = layer_prefix(index)
        self._attention_norm = loader.load(prefix + "input_layernorm.weight")
        self._mlp_norm = loader.load(prefix + "post_attention_layernorm.weight")
        self._qkv = self._load_linear(loader, *(f"{prefix}self_attn.{part}_proj" for part in "qkv"))
        self._output = self._load_linear(loader, f"{prefix}self_attn.o_proj")
        self._gate_up = self._load_linear(loader, *(f"{prefix}mlp.{part}_proj" for part in ("gate", "up")))
        self._down = self._load_linear(loader, f"{prefix}mlp.down_proj")
        self._qk_norms = tuple(
            loader.load(f"{prefix}self_attn.{part}_norm.weight") for part in ("q", "k") if config.has_qk_norm
        )

    def _load_linear(self, loader: WeightLoader, *names: str) -> Linear:
        weight = loader.load(*(f"{name}.weight" for name in names))
        return self._kernels.linear(weight, loader.load_biases(f"{name}.bias" for name in names))

    def __call__(
        self,
        x: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor],
        cache: LayerCache,
        plan: Any,
        adapted: Adapted = NOT_ADAPTED,
    ) -> torch.Tensor:
        """x: [rows, hidden]; rotation: cos and sin, [rows, head_dim / 2] each. Returns [rows, hidden]."""
        eps = self._config.rms_norm_eps
        x = x + self._attend(self._kernels.rms_norm(x, self._attention_norm, eps), rotation, cache, plan, adapted)
        normed = self._kernels.rms_norm(x, self._mlp_norm, eps)
        inner = self._kernels.swiglu(adapted.add(self._index, "gate_up", normed, self._gate_up(normed)))
        return x + adapted.add(self._index, "down", inner, self._down(inner))

    def _attend(
        self,
        x: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor],
        cache: LayerCache,
        plan: Any,
        adapted: Adapted,
    ) -> torch.Tensor:
        config = self._config
        heads = adapted.add(self._index, "qkv", x, self._qkv(x)).view(x.shape[0], -1, config.head_dim)
        v = heads[:, config.num_heads + config.num_kv_heads :]
        if self._qk_norms:
            q, k = heads[:, : config.num_heads], heads[:, config.num_heads : -config.num_kv_heads]
            parts = zip((q, k), self._qk_norms, strict=True)
            qk = torch.cat([self._kernels.rms_norm(part, norm, config.rms_norm_eps) for part, norm in parts], dim=1)
        else:
            qk = heads[:, : -config.num_kv_heads]
        q, k = self._kernels.rotate(qk, *rotation).split((config.num_heads, config.num_kv_heads), dim=1)
        attended = self._attention(q, k, v, cache, plan)
        return adapted.add(self._index, "out", attended, self._output(attended))


class Decoder:
    """Token ids to hidden states, hidden states to logits. A models.paged_model.PagedModel."""

    is_batch_invariant = True

    def __init__(self, config: ModelConfig, kernels: Kernels, loader: WeightLoader, page_size: int) -> None:
        self.architecture = config.family
        self.vocab_size, self.hidden_size = config.vocab_size, config.hidden_size
        self.context_length = config.context_length
        layout = HeadLayout(config.num_heads, config.num_kv_heads, config.head_dim, page_size)
        self.layouts = (layout,) * config.num_layers
        self._config = config
        self._kernels = kernels
        self._attention = kernels.attention(layout)
        self._embedding = loader.load(EMBEDDING)
        self._layers = [
            DecoderLayer(config, kernels, self._attention, loader, index) for index in range(config.num_layers)
        ]
        self._final_norm = loader.load(FINAL_NORM)
        self._head = kernels.linear(self._embedding if config.is_tied else loader.load(HEAD), None)
        divisors = loader.load(ROPE_DIVISORS).cpu() if loader.has(ROPE_DIVISORS) else None
        self._frequencies = rope_frequencies(config.rope, config.head_dim, divisors)

    def prepare(self, cache: Sequence[LayerCache], max_positions: int) -> None:
        """Makes the RoPE tables."""
        device = self._embedding.device
        self._cos, self._sin = (table.to(device) for table in rope_table(self._frequencies, max_positions))

    def load_adapter(self, updates: Updates) -> ExactAdapter:
        """See models.paged_model.PagedModel."""
        device = self._embedding.device
        there = {n: u._replace(down=u.down.to(device), up=u.up.to(device)) for n, u in updates.items()}
        return ExactAdapter(there, self._config, self._kernels)

    def forward(
        self, token_ids: torch.Tensor, positions: torch.Tensor, batch: PagedBatch, cache: Sequence[LayerCache]
    ) -> torch.Tensor:
        """token_ids, positions: int64 [rows]. Writes keys and values. Returns hidden states [rows, hidden]."""
        plans = {window: self._attention.plan(batch, window) for window in set(self._config.windows)}
        rotation = self._cos[positions], self._sin[positions]
        adapted = Adapted(batch.spans, token_ids.device)
        x = F.embedding(token_ids, self._embedding)
        for layer, window, layer_cache in zip(self._layers, self._config.windows, cache, strict=True):
            x = layer(x, rotation, layer_cache, plans[window], adapted)
        return x

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """hidden: [n, hidden], rows of what `forward` returned. Returns [n, vocab]: keep n small."""
        return self._head(self._kernels.rms_norm(hidden, self._final_norm, self._config.rms_norm_eps))
