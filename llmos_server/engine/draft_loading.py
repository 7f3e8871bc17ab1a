"""A model and its draft model in one worker: both are loaded, and share one budget of pages."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch

from llmos_server.contracts import EngineInfo
from llmos_server.engine.draft_model import DraftModel
from llmos_server.engine.kv_cache import KVCache, page_bytes
from llmos_server.engine.messages import DraftConfig, WorkerConfig
from llmos_server.engine.model_runner import ModelRunner, create_runner, prepare_torch
from llmos_server.engine.numerics import Opened, open_by_numerics
from llmos_server.engine.vocabulary import read_vocabulary
from llmos_server.errors import UnsupportedModel

log = logging.getLogger("llmos.worker")


def create_pair(
    config: WorkerConfig, draft: DraftConfig, clock: Callable[[], float] = time.monotonic
) -> tuple[ModelRunner, EngineInfo]:
    """The model's runner, with a draft model unless guesses would change its text.

    Both caches have as many pages. clock: tells what guesses cost. Raises UnsupportedModel for a draft model of another
    vocabulary, beside what create_runner raises.
    """
    check_vocabulary(config, draft)
    device = prepare_torch(config)
    with torch.inference_mode():
        own = msgspec.structs.replace(
            config, model_folder=draft.folder, weights=draft.weights, quantization=draft.quantization, code={}
        )
        opened = open_by_numerics(own, device)
    runner, info = create_runner(config, page_bytes(opened.pages, opened.model.layouts))
    if runner.is_batch_invariant:
        runner.draft = _create_draft(opened, info, device, clock)
    else:
        log.warning("%s guesses nothing for %s, whose text it would change.", draft.name, info.architecture)
    return runner, info


def check_vocabulary(config: WorkerConfig, draft: DraftConfig) -> None:
    """Raises UnsupportedModel unless both have the same tokens under the same ids."""
    if read_vocabulary(Path(config.model_folder)) != read_vocabulary(Path(draft.folder)):
        raise UnsupportedModel(
            f"{draft.name!r} can't be the draft model here (models.drafts): its vocabulary is another one. Choose a "
            "smaller model of the same family."
        )


def _create_draft(opened: Opened, info: EngineInfo, device: torch.device, clock: Callable[[], float]) -> DraftModel:
    model = opened.model
    max_len = min(model.context_length, info.max_model_len)
    with torch.inference_mode():
        cache = KVCache(opened.pages, model.layouts, info.num_pages, device)
        model.prepare(cache.layers, max_len)
    return DraftModel(
        ModelRunner(model, cache, opened.pages, opened.draw),
        num_pages=info.num_pages,
        page_size=info.page_size,
        max_len=max_len,
        vocab_sizes=(model.vocab_size, info.vocab_size),
        clock=clock,
    )
