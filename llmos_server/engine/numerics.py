"""Which kernels compute a model: the compiled ones where they are asked for and can, else the exact ones."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import torch

from llmos_server.engine.messages import WorkerConfig
from llmos_server.engine.quantization import cant_quantize
from llmos_server.engine.sampler import Draw
from llmos_server.errors import EngineFailed, KernelsUnavailable
from llmos_server.kernels.base import PageFormat
from llmos_server.kernels.native.build import KERNEL_CACHE, find_or_build
from llmos_server.kernels.native.library import Library
from llmos_server.kernels.native.pages import NativePages
from llmos_server.kernels.reference import ReferenceKernels
from llmos_server.models.opening import open_model, open_packed
from llmos_server.models.paged_model import PagedModel
from llmos_server.settings import find_home

log = logging.getLogger("llmos.worker")


class Opened(NamedTuple):
    model: PagedModel
    pages: PageFormat
    dtype: str
    """Of the weights, as EngineInfo says it."""
    draw: Draw | None = None


def open_by_numerics(config: WorkerConfig, device: torch.device) -> Opened:
    """Uses as many threads as torch does.

    Raises UnsupportedModel for a checkpoint that can't be computed at all, EngineFailed for one that can't have the KV
    cache that the settings ask for.
    """
    reason = f"engine.numerics is {config.numerics!r} and engine.device {config.device!r}."
    folder, weights = Path(config.model_folder), [Path(path) for path in config.weights]
    if config.numerics == "fast" and device.type == "cpu":
        try:
            return _open_packed(config, folder, weights)
        except KernelsUnavailable as error:
            reason = str(error)
    if config.quantization != "none":
        raise cant_quantize(folder.name, config.quantization, reason)
    if config.cache_dtype != "auto":
        raise EngineFailed(
            f'engine.cache_dtype = "{config.cache_dtype}" needs the compiled kernels, and {folder.name} would run on '
            f'the exact ones, whose KV cache is float32: {reason} Set engine.cache_dtype = "auto" to run it.'
        )
    if config.numerics == "fast" and device.type == "cpu":
        log.warning("%s runs on the exact kernels, many times slower: %s", folder.name, reason)
    kernels = ReferenceKernels(device)
    return Opened(open_model(folder, weights, kernels, device, config.page_size, config.code), kernels, "float32")


def _open_packed(config: WorkerConfig, folder: Path, weights: list[Path]) -> Opened:
    library = Library(find_or_build(find_home() / KERNEL_CACHE), torch.get_num_threads())
    model = open_packed(folder, weights, library, config.page_size, config.code, config.quantization)
    rounded = "" if config.quantization == "none" else f"{config.quantization} "
    if rounded:
        errors = ", ".join(f"{name} {error:.2%}" for name, error in model.rounding_errors.items())
        log.info("%s: weights are off by %s; llmos perplexity tells what that costs.", folder.name, errors)
    pages = NativePages(torch.int8 if config.cache_dtype == "int8" else torch.float16)
    return Opened(model, pages, f"packed {rounded}({library.backend})", model.draw)
