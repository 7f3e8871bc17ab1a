"""The adapters that a worker has loaded: on demand, off the step's way, within a budget, the least recently used goes.

No tensors here. An adapter that a request uses stays; a request whose adapter finds no room waits until one is free.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple, Protocol

from llmos_server.adapter_contracts import AdapterStats, LoadedAdapter
from llmos_server.contracts import GenerateRequest
from llmos_server.errors import InvalidRequest, LLMOSError

NO_ADAPTERS = "This engine serves no adapters; use the base model's name."


class Loaded(Protocol):
    """models.paged_model.LoadedAdapter."""

    @property
    def num_bytes(self) -> int: ...


class AdaptableModel(Protocol):
    """engine.model_runner.ModelRunner, as far as it matters here."""

    @property
    def adapters(self) -> dict[str, Loaded]:
        """By digest: those that sequences may name."""
        ...

    def load_adapter(self, folder: Path) -> Loaded:
        """In any thread. Raises LLMOSError."""
        ...


class Admitted(NamedTuple):
    """A request whose adapter is there, or can't be had."""

    request: GenerateRequest
    arrival: float
    error: InvalidRequest | None


class Adapters:
    """Single-threaded, as EngineCore; the loading thread is its own."""

    def __init__(
        self, model: AdaptableModel, folder_of: Callable[[str], Path], max_adapters: int, max_bytes: int
    ) -> None:
        """folder_of: digest -> where its files are. max_bytes: of all that are loaded."""
        self._loaded = model.adapters
        self._model = model
        self._folder_of = folder_of
        self._max_adapters = max_adapters
        self._max_bytes = max_bytes
        self._order: OrderedDict[str, None] = OrderedDict()  # Of what is loaded: least recently used first.
        self._users: dict[str, str] = {}  # Request's id -> digest, of requests that run.
        self._waiting: dict[str, tuple[GenerateRequest, float]] = {}
        self._wanted: list[str] = []  # Digests to be loaded without a request.
        self._unwanted: set[str] = set()  # To be dropped as soon as nobody uses them.
        self._loading: tuple[str, Future[Loaded]] | None = None
        self._homeless: tuple[str, Loaded] | None = None  # Loaded; there is no room as long as the others are in use.
        self._failed: dict[str, str] = {}
        self._without_room: dict[str, str] = {}  # As _failed, but a request waits for room.
        self._has_changed = False
        self._num_loads = self._num_evictions = 0
        self._load_seconds = 0.0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="adapter-load")

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._waiting

    @property
    def num_waiting(self) -> int:
        """Requests that wait for their adapter."""
        return len(self._waiting)

    @property
    def has_work(self) -> bool:
        return bool(self._waiting or self._wanted or self._loading or self._homeless)

    @property
    def num_bytes(self) -> int:
        return sum(adapter.num_bytes for adapter in self._loaded.values())

    def stats(self) -> AdapterStats:
        counters = self._num_loads, self._num_evictions, self._load_seconds
        return AdapterStats(len(self._loaded), self.num_bytes, *counters)

    def enter(self, request: GenerateRequest, now: float) -> bool:
        """Whether it can be queued at once; else `take` hands it out. Who comes while another finds no room waits
        behind it: so what is in use gets free."""
        if request.adapter in self._loaded and not self._homeless:
            self._use(request)
            return True
        self._waiting[request.request_id] = (request, now)
        self._advance()
        return False

    def load(self, digest: str) -> None:
        """Without a request; take_changes() tells how it ended."""
        if digest not in self._loaded:
            self._wanted.append(digest)
            self._advance()

    def drop(self, digest: str) -> None:
        """As soon as nobody uses it. Unknown ones are no error."""
        if digest in self._loaded:
            self._unwanted.add(digest)
            self._drop_unwanted()

    def abort(self, request_id: str, index: int | None) -> None:
        """A request that waits, all of it: a single choice ends when it has begun."""
        if index is None:
            self._waiting.pop(request_id, None)

    def release(self, is_alive: Callable[[str], bool]) -> None:
        """Between steps: requests that are no more use nothing. is_alive: of a request's id."""
        ended = [request_id for request_id in self._users if not is_alive(request_id)]
        for request_id in ended:
            del self._users[request_id]
        if ended:
            self._drop_unwanted()

    def take(self, timeout: float = 0.0) -> list[Admitted]:
        """What can be queued now, and what never can. timeout: seconds to wait for something that is being loaded."""
        if self._loading and timeout:
            wait([self._loading[1]], timeout)
        self._advance()
        admitted: list[Admitted] = []
        for request_id, (request, arrival) in list(self._waiting.items()):
            if request.adapter in self._failed:
                error = InvalidRequest(self._failed[request.adapter], code="adapter_failed")
                admitted.append(Admitted(request, arrival, error))
            elif request.adapter in self._loaded:
                self._use(request)
                admitted.append(Admitted(request, arrival, None))
            elif self._homeless:
                break
            else:
                continue
            del self._waiting[request_id]
        return admitted

    def take_changes(self) -> tuple[list[LoadedAdapter], dict[str, str]] | None:
        """What is loaded, and why what was to be isn't; None if that is as at the last call."""
        failed = self._failed | self._without_room
        self._failed, self._without_room = {}, {}
        if not (self._has_changed or failed):
            return None
        self._has_changed = False
        loaded = [LoadedAdapter(digest=one, num_bytes=self._loaded[one].num_bytes) for one in self._order]
        return loaded, failed

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _use(self, request: GenerateRequest) -> None:
        self._users[request.request_id] = request.adapter
        self._order.move_to_end(request.adapter)
        self._unwanted.discard(request.adapter)

    def _advance(self) -> None:
        """Settle what was loaded, then begin with the next."""
        if self._loading and self._loading[1].done():
            (digest, future), self._loading = self._loading, None
            try:
                self._homeless = digest, self._checked(future.result())
            except LLMOSError as error:
                self._failed[digest] = str(error)
        if self._homeless and self._make_room(self._homeless[1].num_bytes):
            (digest, adapter), self._homeless = self._homeless, None
            self._loaded[digest] = adapter
            self._order[digest] = None
            self._num_loads += 1
            self._has_changed = True
        elif self._homeless and not any(self._homeless[0] == request.adapter for request, _ in self._waiting.values()):
            self._give_up(self._homeless[0])
            self._homeless = None
        if not (self._loading or self._homeless) and (following := self._next()):
            self._loading = following, self._pool.submit(self._load, following)

    def _load(self, digest: str) -> Loaded:
        """In the loading thread; one at a time."""
        begun = time.monotonic()
        adapter = self._model.load_adapter(self._folder_of(digest))
        self._load_seconds += time.monotonic() - begun
        return adapter

    def _give_up(self, digest: str) -> None:
        """No request asks for it, so it holds up none."""
        if digest in self._wanted:
            self._wanted.remove(digest)
            self._without_room[digest] = "All adapters that there is room for are in use. Try again later."

    def _next(self) -> str | None:
        known = self._loaded.keys() | self._failed.keys()
        self._wanted = [digest for digest in self._wanted if digest not in known]
        asked = (request.adapter for request, _ in self._waiting.values() if request.adapter not in known)
        return next(asked, self._wanted[0] if self._wanted else None)

    def _checked(self, adapter: Loaded) -> Loaded:
        if adapter.num_bytes > self._max_bytes:
            raise InvalidRequest(
                f"The adapter takes {adapter.num_bytes} bytes, and all together may take {self._max_bytes} here. Raise "
                "engine.adapter_bytes."
            )
        return adapter

    def _make_room(self, num_bytes: int) -> bool:
        """By what nobody uses, as far as that is enough."""
        while len(self._loaded) >= self._max_adapters or self.num_bytes + num_bytes > self._max_bytes:
            used = Counter(self._users.values())
            victim = next((digest for digest in self._order if not used[digest]), None)
            if victim is None:
                return False
            self._forget(victim)
            self._num_evictions += 1
        return True

    def _drop_unwanted(self) -> None:
        for digest in self._unwanted - set(self._users.values()):
            self._forget(digest)

    def _forget(self, digest: str) -> None:
        del self._loaded[digest], self._order[digest]
        self._unwanted.discard(digest)
        self._has_changed = True
