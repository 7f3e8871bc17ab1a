"""A checkpoint on disk to a model that can be run: on our own decoder where it can, else on Transformers' code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from llmos_server.errors import KernelsUnavailable, UnsupportedModel
from llmos_server.kernels.base import Kernels
from llmos_server.kernels.native.library import Library
from llmos_server.models.config import load_values, read_config
from llmos_server.models.decoder import Decoder
from llmos_server.models.packed_decoder import PackedDecoder
from llmos_server.models.packed_weights import PackedLoader
from llmos_server.models.paged_model import PagedModel
from llmos_server.models.weights import WeightLoader, open_weights
from llmos_server.settings import Quantization


def open_model(
    folder: Path,
    weights: Sequence[Path],
    kernels: Kernels,
    device: torch.device,
    page_size: int,
    code: Mapping[str, str],
) -> PagedModel:
    """folder: with config.json. code: the model's own Python files, name -> sha256, that compute it; empty runs none.

    Raises UnsupportedModel for a checkpoint that can't be computed.
    """
    values = load_values(folder)
    try:
        config = None if code else read_config(values)
    except UnsupportedModel:
        if {path.suffix for path in weights} not in ({".safetensors"}, {".gguf"}):
            raise
        config = None
    if config is None:
        from llmos_server.models.transformers_backend import open_transformers_model  # seconds, and memory

        return open_transformers_model(folder, values, weights, kernels, device, page_size, code)
    return Decoder(config, kernels, WeightLoader(open_weights(weights, config), device), page_size)


def open_packed(
    folder: Path,
    weights: Sequence[Path],
    library: Library,
    page_size: int,
    code: Mapping[str, str],
    quantization: Quantization = "none",
) -> PackedDecoder:
    """On the compiled kernels; packed by as many threads as torch has.

    Raises KernelsUnavailable for what they can't compute, UnsupportedModel as above.
    """
    if code:
        raise KernelsUnavailable("They compute the decoder of our own only, not the model's own code.")
    try:
        config = read_config(load_values(folder))
    except UnsupportedModel:
        raise KernelsUnavailable("They compute the decoder of our own only, not this architecture.") from None
    loader = PackedLoader(open_weights(weights, config), library, torch.get_num_threads(), quantization)
    return PackedDecoder(config, library, loader, page_size)
