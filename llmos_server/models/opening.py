"""A checkpoint on disk to a model that can be run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from llmos_server.kernels.base import Kernels
from llmos_server.models.config import load_config
from llmos_server.models.decoder import Decoder
from llmos_server.models.paged_model import PagedModel
from llmos_server.models.weights import WeightLoader, open_weights


def open_model(
    folder: Path, weights: Sequence[Path], kernels: Kernels, device: torch.device, page_size: int
) -> PagedModel:
    """folder: with config.json. Raises UnsupportedModel for a checkpoint that can't be computed."""
    config = load_config(folder)
    source = open_weights(weights, config)
    return Decoder(config, kernels, WeightLoader(source, device), page_size)
