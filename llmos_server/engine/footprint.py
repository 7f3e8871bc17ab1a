"""What a model takes in memory, told before it is loaded; torch-free."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos_server.contracts import ModelVersion
from llmos_server.engine.memory import CACHED_BATCHES, default_budget_bytes, default_cache_bytes
from llmos_server.errors import KernelsUnavailable
from llmos_server.kernels.native.build import find_compiler
from llmos_server.kernels.native.shapes import DecoderShape, cached_row_bytes, check_shape
from llmos_server.models.packed_types import packed_bytes, rounded_type
from llmos_server.settings import EngineSettings

FLOAT_BYTES = 4
"""On the exact kernels weights and pages are float32, however the file packs them; the compiled ones keep weights
packed and pages in float16 or int8."""
WORKER_BYTES = 400 * 2**20
"""A worker without weights and pages: the interpreter, torch, tables, what a step works on. Measured on x86-64 Linux
with torch 2.12: 233 MiB resident with torch imported, 384 MiB after a prompt of 512 tokens to smollm2:135m."""
MAX_CACHE_SHARES = 4
ADAPTERS_PART = 16
"""Such a part of what is meant for the KV cache is the adapters', unless engine.adapter_bytes says otherwise."""
OWN_FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""models.config.FAMILIES, which can't be imported here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """In bytes."""

    weights: int
    cache: int
    """Budget of the KV cache, which the worker is told; 0: it has none, or decides itself."""
    adapters: int = 0
    """Budget of the adapters, which the worker is told, too."""

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.adapters + WORKER_BYTES


class MemoryBudget:
    """What all workers together may take, and what each of them will."""

    def __init__(self, settings: EngineSettings, limit: int) -> None:
        """limit: bytes that this machine or container has."""
        self._settings = settings
        self._limit = limit
        self.num_bytes = settings.memory_bytes or default_budget_bytes(limit)

    def measure(self, version: ModelVersion, num_decoders: int, draft: ModelVersion | None = None) -> Footprint:
        """num_decoders: how many share the default for KV caches. draft: its draft model, which shares its cache.

        On CUDA the budget has to be told, for this process can't see the device; untold, one model at a time takes it.
        Without the number of parameters (an import of old), the size of the files stands in for them.
        """
        settings = self._settings
        if settings.device == "cuda" and not settings.memory_bytes:
            return Footprint(weights=self.num_bytes - settings.cache_bytes - WORKER_BYTES, cache=settings.cache_bytes)
        if version.kind != "decoder":
            return Footprint(weights=_float_bytes(version), cache=0)
        shares = max(1, min(num_decoders, MAX_CACHE_SHARES))
        cache = settings.cache_bytes or default_cache_bytes(self._limit) // shares
        versions = [version] if draft is None else [version, draft]
        weights, useful = zip(*(_measure_decoder(each, settings) for each in versions), strict=True)
        adapters = settings.adapter_bytes or cache // ADAPTERS_PART
        if not settings.cache_bytes:
            cache = max(cache - adapters, cache // 2)
        cache = min(cache, sum(useful) if all(useful) else cache)
        return Footprint(weights=sum(weights), cache=cache, adapters=adapters)


def _measure_decoder(version: ModelVersion, settings: EngineSettings) -> tuple[int, int]:
    """Bytes of its weights, and of the largest cache that is of use; 0 when config.json doesn't tell that."""
    config = read_model_config(version)
    is_fast = explain_unpacked(config, settings) is None
    weights = _packed_bytes(version, config) if is_fast else _float_bytes(version)
    return weights, _useful_cache_bytes(config, settings, is_fast)


def _float_bytes(version: ModelVersion) -> int:
    return version.num_parameters * FLOAT_BYTES or version.size_bytes


def explain_unpacked(config: dict[str, Any], settings: EngineSettings) -> str | None:
    """Why the worker can't compute this decoder on the compiled kernels; None where it will."""
    if settings.numerics != "fast" or settings.device != "cpu":
        return "engine.numerics or engine.device asks for other kernels."
    if config.get("model_type") not in OWN_FAMILIES:
        return f"Transformers' code computes {config.get('model_type')!r}, not the compiled kernels."
    try:
        num_heads = config["num_attention_heads"]
        head_dim = config.get("head_dim") or config["hidden_size"] // num_heads
        sizes = (config["hidden_size"], config["intermediate_size"], num_heads)
        num_kv_heads = config.get("num_key_value_heads") or num_heads
        check_shape(DecoderShape(*sizes, num_kv_heads, head_dim, settings.page_size))
        find_compiler()
    except KernelsUnavailable as error:
        return str(error)
    except (LookupError, TypeError, ZeroDivisionError):
        return "config.json doesn't tell the shape of the model."
    return None


def _packed_bytes(version: ModelVersion, config: dict[str, Any]) -> int:
    """Of the weights on the compiled kernels."""
    elements: Mapping[str, int] = version.elements
    if version.quantization != "none" and elements:
        elements = _rounded_elements(version, config)
    return packed_bytes(elements) or version.size_bytes


def _rounded_elements(version: ModelVersion, config: dict[str, Any]) -> Mapping[str, int]:
    """As version.elements, after the rounding. config: of a shape that the compiled kernels can compute."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    kv_size = (config.get("num_key_value_heads") or heads) * (config.get("head_dim") or hidden // heads)
    layers = config.get("num_hidden_layers", 0)
    sizes = {
        "embed_tokens": config.get("vocab_size", 0) * hidden,
        "lm_head": 0 if config.get("tie_word_embeddings") else config.get("vocab_size", 0) * hidden,
        "k_proj": layers * kv_size * hidden,
        "v_proj": layers * kv_size * hidden,
        "down_proj": layers * config["intermediate_size"] * hidden,
    }
    sizes["others"] = version.num_parameters - sum(sizes.values())
    elements: Counter[str] = Counter()
    for name, size in sizes.items():
        elements[rounded_type(name, version.quantization)] += size
    return elements


def read_model_config(version: ModelVersion) -> dict[str, Any]:
    """What config.json holds; {} when it can't be read."""
    try:
        config = json.loads(Path(version.folder, "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _useful_cache_bytes(config: dict[str, Any], settings: EngineSettings, is_fast: bool) -> int:
    """What CACHED_BATCHES take. 0 when config.json doesn't tell the shape of keys and values."""
    try:
        num_heads = config["num_attention_heads"]
        head_dim = config.get("head_dim") or config["hidden_size"] // num_heads
        num_kv_heads = config.get("num_key_value_heads") or num_heads
        row_bytes = FLOAT_BYTES * head_dim
        if is_fast:
            row_bytes = cached_row_bytes(head_dim, is_int8=settings.cache_dtype == "int8")
        token_bytes = 2 * config["num_hidden_layers"] * num_kv_heads * row_bytes
        pages_per_sequence = -(-config["max_position_embeddings"] // settings.page_size)
        return int(CACHED_BATCHES * settings.max_num_seqs * pages_per_sequence * settings.page_size * token_bytes)
    except (LookupError, TypeError, ValueError):
        return 0
