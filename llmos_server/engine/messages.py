"""What crosses between the API process and an engine worker: frozen structs, as msgpack over ZeroMQ, nothing else.

Every message carries the worker's epoch (it counts the starts of one worker), so a late one from a dead worker is
dropped.
"""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec

from llmos_server.adapter_contracts import LoadedAdapter
from llmos_server.contracts import (
    ChoiceDelta,
    EncodeRequest,
    EncoderInfo,
    EngineInfo,
    EngineStats,
    GenerateRequest,
    PageLayout,
)
from llmos_server.settings import LogSettings, Quantization

Info = TypeVar("Info", bound=EngineInfo | EncoderInfo)


class AddRequest(msgspec.Struct, frozen=True, tag="add"):
    epoch: int
    request: GenerateRequest


class AbortRequest(msgspec.Struct, frozen=True, tag="abort"):
    epoch: int
    request_id: str
    index: int | None = None
    """None aborts every choice."""


class LoadAdapter(msgspec.Struct, frozen=True, tag="load_adapter"):
    """Have it ready before a request asks for it."""

    epoch: int
    digest: str


class DropAdapter(msgspec.Struct, frozen=True, tag="drop_adapter"):
    """Free its memory as soon as no request uses it."""

    epoch: int
    digest: str


class ResizePool(msgspec.Struct, frozen=True, tag="resize_pool"):
    """How many of the pages that were laid out there may be; never fewer than the longest sequence needs."""

    epoch: int
    num_pages: int


class MapPages(msgspec.Struct, frozen=True, tag="map_pages"):
    """Tell what each page is, once."""

    epoch: int


class Shutdown(msgspec.Struct, frozen=True, tag="shutdown"):
    epoch: int


class Encode(msgspec.Struct, frozen=True, tag="encode"):
    epoch: int
    request: EncodeRequest


Command = AddRequest | AbortRequest | LoadAdapter | DropAdapter | ResizePool | MapPages | Shutdown
"""To a decoder's worker."""

EncoderCommand = Encode | AbortRequest | Shutdown
"""To an encoder's worker."""


class Ready(msgspec.Struct, Generic[Info], frozen=True, tag="ready"):
    epoch: int
    info: Info


class LoadFailed(msgspec.Struct, frozen=True, tag="load_failed"):
    """The model can't be loaded; starting again would not help."""

    epoch: int
    message: str


class StepOutput(msgspec.Struct, frozen=True, tag="step"):
    """What a step brought to all sequences, or several short ones together."""

    epoch: int
    deltas: list[ChoiceDelta]
    stats: EngineStats
    broken: list[str] = []
    """Ids of requests that have ended without a result, because the model's numbers for them were not finite."""


class RequestsBegun(msgspec.Struct, frozen=True, tag="begun"):
    """The step that is computed now is the first one of these."""

    epoch: int
    request_ids: list[str]


class RequestFailed(msgspec.Struct, frozen=True, tag="request_failed"):
    """One request could not be run, or not to its end, by its own fault; the others go on."""

    epoch: int
    request_id: str
    message: str
    code: str | None = None


class AdaptersChanged(msgspec.Struct, frozen=True, tag="adapters"):
    """Other adapters are loaded than before, or one could not be."""

    epoch: int
    loaded: list[LoadedAdapter]
    """The least recently used first."""
    failed: dict[str, str] = {}
    """Digest -> reason."""


class PoolResized(msgspec.Struct, frozen=True, tag="pool_resized"):
    """There are as many pages now; the memory of all others is the system's."""

    epoch: int
    stats: EngineStats


class PagesMapped(msgspec.Struct, frozen=True, tag="pages_mapped"):
    """The answer to MapPages."""

    epoch: int
    layout: PageLayout


class Encoded(msgspec.Struct, frozen=True, tag="encoded"):
    """A whole request's embeddings, in the order of its inputs: little-endian float32."""

    epoch: int
    request_id: str
    embeddings: list[bytes]


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """The model can't compute a request: its numbers are not finite, or its batch failed."""

    epoch: int
    request_id: str


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat"):
    """From a thread of its own, so that a long step is not taken for death."""

    epoch: int
    step_seconds: float = 0.0
    """For how long the present step, or batch of an encoder, has been running; 0 between two."""


Report = (
    Ready[EngineInfo]
    | LoadFailed
    | StepOutput
    | RequestsBegun
    | RequestFailed
    | AdaptersChanged
    | PoolResized
    | PagesMapped
    | Heartbeat
)
"""From a decoder's worker."""

EncoderReport = Ready[EncoderInfo] | LoadFailed | Encoded | Broken | RequestFailed | Heartbeat
"""From an encoder's worker."""


class ProcessConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What any worker is told at its start, as JSON on its command line's file descriptor (stdin's first line)."""

    epoch: int
    commands_endpoint: str
    """ipc:// address that the worker connects a PULL socket to."""
    reports_endpoint: str
    """ipc:// address that the worker connects PUSH sockets to."""
    model_digest: str
    model_folder: str
    weights: list[str]
    device: str
    threads: int
    log: LogSettings = LogSettings()
    heartbeat_seconds: float = 2.0


class DraftConfig(msgspec.Struct, frozen=True):
    """Where a draft model is."""

    name: str
    folder: str
    weights: list[str]
    quantization: Quantization = "none"


class WorkerConfig(ProcessConfig, frozen=True, kw_only=True):
    """A decoder's."""

    page_size: int
    cache_bytes: int
    max_num_seqs: int
    max_num_batched_tokens: int
    max_step_ms: int = 0
    max_stall: float = 0.0
    stream_interval_ms: int = 0
    prefix_caching: bool
    numerics: Literal["fast", "exact"] = "exact"
    speculation: Literal["off", "ngram"] = "off"
    num_speculative_tokens: int = 0
    cache_dtype: Literal["auto", "int8"] = "auto"
    adapters_folder: str = ""
    """Where adapters lie, each in a folder named by its digest's digits."""
    max_adapters: int = 1
    adapter_bytes: int = 2**28
    """Of all that are loaded."""
    num_pages: int = 0
    """How many of the pages that are laid out there may be at first, as by ResizePool; 0: all."""
    draft: DraftConfig | None = None
    """Guesses instead of the look-up, unless speculation is off."""
    quantization: Quantization = "none"
    """How float weights are rounded."""
    activations: Literal["auto", "int8", "int16"] = "int16"
    code: dict[str, str] = {}
    """The model's own Python files, name -> sha256, that are run; empty runs none."""


class EncoderConfig(ProcessConfig, frozen=True, kw_only=True):
    """An encoder's."""

    max_batch_tokens: int
    """Most tokens in one forward pass, padding included; an input that is longer runs alone."""
