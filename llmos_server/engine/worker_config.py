"""What a decoder's worker is told of its model and of the settings."""

from __future__ import annotations

from llmos_server.adapter_contracts import ADAPTERS
from llmos_server.contracts import ModelVersion
from llmos_server.cores import num_usable_cores
from llmos_server.engine.connection import Endpoints
from llmos_server.engine.messages import DraftConfig, WorkerConfig
from llmos_server.settings import EngineSettings, LogSettings, find_home

DEFAULT_ADAPTER_BYTES = 2**28
"""Where no footprint was reckoned."""


def configure_worker(
    model: ModelVersion,
    settings: EngineSettings,
    *,
    epoch: int = 0,
    endpoints: Endpoints | None = None,
    draft: DraftConfig | None = None,
    log: LogSettings | None = None,
    heartbeat_seconds: float = 2.0,
    num_pages: int = 0,
) -> WorkerConfig:
    """endpoints: None for a model that is run in this process, without a worker."""
    return WorkerConfig(
        epoch=epoch,
        commands_endpoint=endpoints.commands if endpoints else "",
        reports_endpoint=endpoints.reports if endpoints else "",
        model_digest=model.digest,
        model_folder=model.folder,
        weights=model.weights,
        code=model.code,
        device=settings.device,
        threads=settings.threads or num_usable_cores(),
        page_size=settings.page_size,
        cache_bytes=settings.cache_bytes,
        max_num_seqs=settings.max_num_seqs,
        max_num_batched_tokens=settings.max_num_batched_tokens,
        max_step_ms=settings.max_step_ms,
        max_stall=settings.max_stall,
        stream_interval_ms=settings.stream_interval_ms,
        prefix_caching=settings.prefix_caching,
        numerics=settings.numerics,
        speculation=settings.speculation,
        num_speculative_tokens=settings.num_speculative_tokens,
        cache_dtype=settings.cache_dtype,
        adapters_folder=str(find_home() / ADAPTERS),
        max_adapters=settings.max_adapters,
        adapter_bytes=settings.adapter_bytes or DEFAULT_ADAPTER_BYTES,
        draft=draft,
        quantization=model.quantization,
        activations=settings.activations,
        log=log or LogSettings(),
        heartbeat_seconds=heartbeat_seconds,
        num_pages=num_pages,
    )
