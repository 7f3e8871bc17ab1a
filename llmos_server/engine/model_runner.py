"""The tensor side of the engine: a StepPlan to tensors, through the model, to sampled tokens."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import torch

from llmos_server.contracts import EngineInfo, TokenLogprob
from llmos_server.engine.kv_cache import KVCache, default_budget, num_pages_for, page_bytes
from llmos_server.engine.memory import CACHED_BATCHES
from llmos_server.engine.messages import WorkerConfig
from llmos_server.engine.numerics import open_by_numerics
from llmos_server.engine.rounding import round_activations
from llmos_server.engine.sampler import Draw, choose_tokens, sample_rows, token_logprobs, verify_rows
from llmos_server.engine.sequence import Ahead
from llmos_server.engine.speculation import PagedProposer
from llmos_server.engine.step import Chunk, Masks, SampledToken, StepPlan, StepResult
from llmos_server.errors import EngineFailed
from llmos_server.kernels.base import PagedBatch, PageFormat, Span
from llmos_server.kernels.native.build import KERNEL_CACHE
from llmos_server.models.adapter_files import read_adapter
from llmos_server.models.packed_decoder import PackedDecoder
from llmos_server.models.paged_model import LoadedAdapter, PagedModel
from llmos_server.settings import find_home

log = logging.getLogger("llmos.worker")

HEAD_ROWS = 64
"""Rows that the output head computes at once: 64 x 49152 floats are 12 MiB, a whole prompt's would be gigabytes."""


class ModelRunner:
    """engine.step.Runner over one model and its pages."""

    def __init__(self, model: PagedModel, cache: KVCache, pages: PageFormat, draw: Draw | None = None) -> None:
        """draw: the model's own way to draw a token, if it has one."""
        self._model = model
        self._cache = cache
        self._pages = pages
        self._draw = draw
        self.draft: PagedProposer | None = None
        self.adapters: dict[str, LoadedAdapter] = {}
        """By digest: those that sequences may name. A draft model's runner has none, and guesses without."""
        self._device = cache.layers[0].keys.device
        self.is_batch_invariant = model.is_batch_invariant and self._device.type == "cpu"

    @torch.inference_mode()
    def move_pages(self, moves: Sequence[tuple[int, int]]) -> None:
        """See engine.pool.PageStore; its draft model's, too."""
        self._cache.copy_pages(moves)
        if self.draft is not None:
            self.draft.move_pages(moves)

    @torch.inference_mode()
    def release_pages(self, page_ids: Iterable[int]) -> None:
        """See engine.pool.PageStore; its draft model's, too."""
        page_ids = list(page_ids)
        self._cache.release_pages(page_ids)
        if self.draft is not None:
            self.draft.release_pages(page_ids)

    @torch.inference_mode()
    def load_adapter(self, folder: Path) -> LoadedAdapter:
        """In any thread; `adapters` is where it goes. Raises UnsupportedModel when it can't be read or applied."""
        return self._model.load_adapter(read_adapter(folder))

    @torch.inference_mode()
    def forward(self, plan: StepPlan) -> torch.Tensor:
        """Pages are cleared and copied first. Returns hidden states, float32 [rows, hidden], chunk after chunk."""
        self._cache.clear_pages(plan.page_clears)
        self._cache.copy_pages(plan.page_copies)
        if not plan.chunks:
            return torch.empty(0, self._model.hidden_size, device=self._device)
        num_padding = self._pages.padded_rows(plan.num_tokens) - plan.num_tokens
        token_ids: list[int] = []
        positions: list[int] = []
        spans: list[Span] = []
        for chunk in plan.chunks:
            adapter = self.adapters.get(chunk.sequence.request.adapter)
            spans.append(Span(len(token_ids), chunk.start, chunk.num_tokens, chunk.sequence.pages, adapter))
            token_ids += chunk.token_ids
            positions += range(chunk.start, chunk.start + chunk.num_tokens)
        batch = PagedBatch(tuple(spans), plan.num_tokens + num_padding)
        padding = [0] * num_padding
        return self._model.forward(
            torch.tensor(token_ids + padding, device=self._device),
            torch.tensor(positions + padding, device=self._device),
            batch,
            self._cache.layers,
        )

    @torch.inference_mode()
    def sample(self, plan: StepPlan, hidden: torch.Tensor) -> StepResult:
        """hidden: what `forward` returned for the same plan."""
        ends, end = [], 0
        for chunk in plan.chunks:
            end += chunk.num_tokens
            ends.append(end)
        drawing = [(end, chunk) for end, chunk in zip(ends, plan.chunks, strict=True) if chunk.sample_for]
        drawing.sort(key=lambda item: bool(item[1].draft_ids))  # What draws from one row first: that is done together.
        sampled: list[SampledToken] = []
        for group in _groups(drawing):
            rows = [row for end, chunk in group for row in range(end - len(chunk.draft_ids) - 1, end)]
            sampled += self._sample_chunks(self._model.logits(hidden[rows]), [chunk for _, chunk in group], plan.masks)
        prompt_logprobs = {
            place: self._prompt_logprobs(chunk, hidden[end - chunk.num_tokens : end])
            for place, (end, chunk) in enumerate(zip(ends, plan.chunks, strict=True))
            if chunk.wants_prompt_logprobs
        }
        return StepResult(sampled, prompt_logprobs)

    @torch.inference_mode()
    def draw_last(self, plan: StepPlan, hidden: torch.Tensor, histories: list[Ahead]) -> list[int | None]:
        """One token from the last row of each chunk that samples, for whom `histories` tells; None where that row isn't
        finite. hidden: what `forward` returned for the same plan."""
        ends = accumulate(chunk.num_tokens for chunk in plan.chunks)
        rows = [end - 1 for end, chunk in zip(ends, plan.chunks, strict=True) if chunk.sample_for]
        tokens: list[int | None] = []
        for first in range(0, len(rows), HEAD_ROWS):
            logits = self._model.logits(hidden[rows[first : first + HEAD_ROWS]])
            tokens += choose_tokens(logits, histories[first : first + HEAD_ROWS], self._draw)
        return tokens

    def _sample_chunks(self, logits: torch.Tensor, chunks: list[Chunk], masks: Masks | None) -> list[SampledToken]:
        """chunks: those without guesses first, one row each; then those with, a row for each guess more."""
        num_single = sum(1 for chunk in chunks if not chunk.draft_ids)
        members = [chunk.sample_for for chunk in chunks[:num_single]]
        sampled = sample_rows(logits[:num_single], members, self._draw, masks)
        first = num_single
        for chunk in chunks[num_single:]:
            end = first + len(chunk.draft_ids) + 1
            sampled += verify_rows(logits[first:end], chunk.sequence, chunk.draft_ids, self._draw, masks)
            first = end
        return sampled

    def _prompt_logprobs(self, chunk: Chunk, hidden: torch.Tensor) -> list[TokenLogprob]:
        """hidden: the chunk's rows. One entry per row whose next token is part of the prompt."""
        request = chunk.sequence.request
        targets = request.prompt_ids[chunk.start + 1 : chunk.start + chunk.num_tokens + 1]
        entries: list[TokenLogprob] = []
        for first in range(0, len(targets), HEAD_ROWS):
            ids = targets[first : first + HEAD_ROWS]
            logits = self._model.logits(hidden[first : first + len(ids)])
            entries += token_logprobs(logits, ids, [request.sampling.prompt_logprobs or 0] * len(ids))
        return entries


def _groups(drawing: list[tuple[int, Chunk]]) -> Iterator[list[tuple[int, Chunk]]]:
    """In order; as many chunks together as have HEAD_ROWS rows to draw from, or one that has more."""
    group: list[tuple[int, Chunk]] = []
    num_rows = 0
    for end, chunk in drawing:
        num_more = len(chunk.draft_ids) + 1
        if group and num_rows + num_more > HEAD_ROWS:
            yield group
            group, num_rows = [], 0
        group.append((end, chunk))
        num_rows += num_more
    if group:
        yield group


def create_runner(config: WorkerConfig, draft_page_bytes: int = 0) -> tuple[ModelRunner, EngineInfo]:
    """Load the model and lay out its cache. draft_page_bytes: what a page takes besides, of the same budget.

    Sets torch's thread count for the whole process. Raises UnsupportedModel for a checkpoint that can't be computed,
    EngineFailed for a device or budget that can't be used.
    """
    started = time.monotonic()
    device = prepare_torch(config)
    with torch.inference_mode():
        model, pages, dtype, draw = open_by_numerics(config, device)
        pages_per_sequence = -(-model.context_length // config.page_size)
        max_useful = CACHED_BATCHES * config.max_num_seqs * pages_per_sequence
        budget = config.cache_bytes or default_budget(device)
        size = page_bytes(pages, model.layouts) + draft_page_bytes
        num_pages = num_pages_for(budget, size, max_useful)
        max_model_len = min(model.context_length, num_pages * config.page_size)
        cache = KVCache(pages, model.layouts, num_pages, device)
        model.prepare(cache.layers, max_model_len)
    runner = ModelRunner(model, cache, pages, draw)
    rounded: tuple[str, ...] = ()
    if isinstance(model, PackedDecoder):
        rounded = round_activations(model, runner, config, max_model_len, find_home() / KERNEL_CACHE)
        dtype += f", activations of {', '.join(rounded)} in 8 bits" if rounded else ""
    if config.activations == "int8" and not rounded:
        log.warning("engine.activations = int8 changes nothing: these weights, or kernels, round no activations")
    info = EngineInfo(
        model_digest=config.model_digest,
        architecture=model.architecture,
        dtype=dtype,
        device=config.device,
        vocab_size=model.vocab_size,
        context_length=model.context_length,
        max_model_len=max_model_len,
        page_size=config.page_size,
        num_pages=num_pages,
        page_bytes=size if cache.can_release else 0,
        cache_dtype=str(pages.cache_dtype).removeprefix("torch."),
        load_seconds=time.monotonic() - started,
    )
    return runner, info


def prepare_torch(config: WorkerConfig) -> torch.device:
    """Its number of threads, and the device. Raises EngineFailed when that isn't there."""
    if config.threads > 0:
        torch.set_num_threads(config.threads)
    return choose_device(config.device)


def choose_device(name: str) -> torch.device:
    """Raises EngineFailed when the device isn't there."""
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise EngineFailed(
            "No CUDA device can be used. Start with --device cpu, or install torch's CUDA build and a driver."
        )
    return device
