"""The Llama-shaped decoder on compiled kernels: weights stay packed, a call computes all layers.

Same networks as decoder.py, which is the truth that this one is held to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch

from llmos_server.kernels.base import HeadLayout, LayerCache, PagedBatch
from llmos_server.kernels.native.huge_pages import Array
from llmos_server.kernels.native.library import Batch, Layer, Library
from llmos_server.kernels.native.library import Decoder as DecoderStruct
from llmos_server.kernels.native.low_rank import PackedAdapter, Product
from llmos_server.kernels.native.packing import PackedStack, address
from llmos_server.kernels.native.pages import CACHE_KINDS
from llmos_server.kernels.native.shapes import DecoderShape, check_shape
from llmos_server.models.adapted_products import part_names
from llmos_server.models.adapter_files import Updates, refuse_rest
from llmos_server.models.config import ModelConfig
from llmos_server.models.names import EMBEDDING, FINAL_NORM, HEAD, ROPE_DIVISORS, layer_prefix
from llmos_server.models.packed_weights import PackedLoader
from llmos_server.models.rope import rope_frequencies, rope_table

PRODUCTS = ("qkv", "out", "gate_up", "down", "head")
"""The matrix products whose activations may be rounded to integers of 8 bits instead of 16."""
FINE = dict.fromkeys(PRODUCTS, 16)


def shape_of(config: ModelConfig, page_size: int) -> DecoderShape:
    sizes = (config.hidden_size, config.intermediate_size, config.num_heads, config.num_kv_heads, config.head_dim)
    return DecoderShape(*sizes, page_size)


class _LayerWeights:
    def __init__(self, config: ModelConfig, loader: PackedLoader, index: int) -> None:
        prefix = layer_prefix(index)
        self.qkv = loader.stack(*(f"{prefix}self_attn.{part}_proj" for part in "qkv"))
        self.out = loader.stack(f"{prefix}self_attn.o_proj")
        self.gate_up = loader.stack(f"{prefix}mlp.gate_proj", f"{prefix}mlp.up_proj")
        self.down = loader.stack(f"{prefix}mlp.down_proj")
        self.attention_norm = loader.vector(f"{prefix}input_layernorm.weight")
        self.mlp_norm = loader.vector(f"{prefix}post_attention_layernorm.weight")
        self.qk_norms: list[Array | None] = [None, None]
        if config.has_qk_norm:
            self.qk_norms = [loader.vector(f"{prefix}self_attn.{part}_norm.weight") for part in "qk"]
        self.window = config.windows[index] or 0

    def struct(self, cache: LayerCache, bits: Mapping[str, int]) -> Layer:
        stacks = [getattr(self, name).struct(bits[name]) for name in ("qkv", "out", "gate_up", "down")]
        norms = map(address, (self.attention_norm, self.mlp_norm, *self.qk_norms))
        return Layer(*stacks, *norms, cache.keys.data_ptr(), cache.values.data_ptr(), self.window)


class PackedDecoder:
    """A models.paged_model.PagedModel. Weights, tables and pages have to stay where they are."""

    is_batch_invariant = True

    def __init__(self, config: ModelConfig, library: Library, loader: PackedLoader, page_size: int) -> None:
        """Raises KernelsUnavailable for a shape that the kernels can't compute."""
        check_shape(shape_of(config, page_size))
        self.architecture = config.family
        self.backend = library.backend
        self.vocab_size, self.hidden_size = config.vocab_size, config.hidden_size
        self.context_length = config.context_length
        layout = HeadLayout(config.num_heads, config.num_kv_heads, config.head_dim, page_size)
        self.layouts = (layout,) * config.num_layers
        self._config = config
        self._library = library
        self._page_size = page_size
        self._layers = [_LayerWeights(config, loader, index) for index in range(config.num_layers)]
        embedding, head = (name.removesuffix(".weight") for name in (EMBEDDING, HEAD))
        self._embedding = loader.stack(embedding)
        self._head = self._embedding if config.is_tied else loader.stack(head)
        self.rounding_errors = loader.rounding_errors
        self._final_norm = loader.vector(FINAL_NORM)
        divisors = torch.from_numpy(loader.vector(ROPE_DIVISORS)) if loader.has(ROPE_DIVISORS) else None
        self._frequencies = rope_frequencies(config.rope, config.head_dim, divisors)
        self._bits = FINE
        self._rounds_everywhere = False

    @property
    def num_bytes(self) -> int:
        """Of all packed matrices."""
        stacks: list[PackedStack] = [s for w in self._layers for s in (w.qkv, w.out, w.gate_up, w.down)]
        return sum(stack.num_bytes for stack in {id(s): s for s in (*stacks, self._embedding, self._head)}.values())

    @property
    def is_quantised(self) -> bool:
        """Whether there are products that round activations."""
        return self._layers[0].down.is_quantised

    def round_to_bytes(self, products: Collection[str], *, everywhere: bool = False) -> None:
        """Of PRODUCTS: those whose activations are rounded to 8 bits from now on, all others to 16.

        The first and the last layer keep 16 unless `everywhere`: half of what rounding does to smollm2:135m is theirs.
        After `prepare`, and before anything is served: what pages hold was computed otherwise.
        """
        self._bits = {name: 8 if name in products else 16 for name in PRODUCTS}
        self._rounds_everywhere = everywhere
        self._make_structs()

    def prepare(self, cache: Sequence[LayerCache], max_positions: int) -> None:
        """Makes the RoPE tables and notes where the pages are."""
        self._cos, self._sin = (table.contiguous() for table in rope_table(self._frequencies, max_positions))
        self._cache = cache
        self._make_structs()

    def _make_structs(self) -> None:
        config = self._config
        edges = () if self._rounds_everywhere else (0, config.num_layers - 1)
        layers = enumerate(zip(self._layers, self._cache, strict=True))
        structs = (weights.struct(pages, FINE if index in edges else self._bits) for index, (weights, pages) in layers)
        self._layer_structs = (Layer * config.num_layers)(*structs)
        self._head_struct = self._head.struct(self._bits["head"])
        self._decoder = DecoderStruct(
            hidden=config.hidden_size,
            inner=config.intermediate_size,
            num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            page_size=self._page_size,
            cache_kind=CACHE_KINDS[self._cache[0].keys.dtype],
            eps=config.rms_norm_eps,
            scale=config.head_dim**-0.5,
            cos=self._cos.data_ptr(),
            sin=self._sin.data_ptr(),
            layers=self._layer_structs,
        )

    def load_adapter(self, updates: Updates) -> PackedAdapter:
        """See models.paged_model.PagedModel."""
        names = part_names(self._config.num_layers)
        refuse_rest(updates, {name for layer in names for parts in layer.values() for name in parts}, self.architecture)
        layers = [
            {product: _product(getattr(weights, product), parts, updates) for product, parts in layer.items()}
            for weights, layer in zip(self._layers, names, strict=True)
        ]
        return PackedAdapter(layers)

    def forward(
        self, token_ids: torch.Tensor, positions: torch.Tensor, batch: PagedBatch, cache: Sequence[LayerCache]
    ) -> torch.Tensor:
        """token_ids: int64 [rows]; positions follow from the spans. Returns hidden states [rows, hidden]."""
        rows = torch.empty(len(token_ids), self.hidden_size)
        self._library.gather(self._embedding.parts[0].struct, token_ids.data_ptr(), len(token_ids), rows.data_ptr())
        tables = [span.pages[: -(-(span.start + span.num_tokens) // self._page_size)] for span in batch.spans]
        firsts = np.cumsum([0, *map(len, tables)])
        spans = np.array(
            [(s.row, s.start, s.num_tokens, first) for s, first in zip(batch.spans, firsts, strict=False)],
            dtype=np.int32,
        )
        pages = np.fromiter((page for table in tables for page in table), np.int32, count=int(firsts[-1]))
        adapters = _adapters_of(batch)
        struct = Batch(len(token_ids), len(spans), address(spans), address(pages), address(adapters))
        self._library.forward(self._decoder, 0, self._config.num_layers, struct, rows.data_ptr())
        return rows

    def draw(self, scores: torch.Tensor, temperature: float, noise: float) -> int:
        """A token of softmax(scores / temperature), as engine.sampler.draw chooses it. scores: float32 [vocab]."""
        return self._library.draw(scores.data_ptr(), scores.shape[0], temperature, noise)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """hidden: [n, hidden], rows of what `forward` returned. Returns [n, vocab]: keep n small."""
        rows = hidden.contiguous()
        out = torch.empty(rows.shape[0], self.vocab_size)
        norm, eps = address(self._final_norm), self._config.rms_norm_eps
        self._library.project(self._head_struct, norm, eps, rows.data_ptr(), rows.shape[0], out.data_ptr())
        return out


def _product(stack: PackedStack, names: Sequence[str], updates: Updates) -> Product:
    parts = [(part.num_out, updates.get(name)) for part, name in zip(stack.parts, names, strict=True)]
    return Product(stack.parts[0].num_in, parts)


def _adapters_of(batch: PagedBatch) -> Array | None:
    """Addresses, one a span; None where no span has an adapter."""
    adapters: list[PackedAdapter | None] = [span.adapter for span in batch.spans]
    if not any(adapters):
        return None
    return np.array([0 if adapter is None else adapter.address for adapter in adapters], np.uintp)
