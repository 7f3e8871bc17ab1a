"""A model with an adapter: the base's engine, asked with the adapter's digest at every request."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager

import msgspec

from llmos_server.adapter_contracts import AdapterVersion, LoadedAdapter, unquantised
from llmos_server.api.served import ServedModel
from llmos_server.contracts import (
    EngineInfo,
    EngineState,
    EngineStats,
    GenerateRequest,
    Generation,
    Generator,
    PageLayout,
    ScoreRequest,
    Scores,
)
from llmos_server.errors import ModelNotFound


class AdaptedGenerator:
    """Implements contracts.Generator."""

    def __init__(self, base: Generator, adapter: AdapterVersion) -> None:
        self._base = base
        self._adapter = adapter

    @property
    def state(self) -> EngineState:
        """The base's: the adapter itself is loaded by the first request, within that."""
        return self._base.state

    @property
    def load_failure(self) -> str:
        return self._base.load_failure

    @property
    def info(self) -> EngineInfo | None:
        info = self._base.info
        return None if info is None else self._adapted(info)

    @property
    def stats(self) -> EngineStats:
        return self._base.stats

    @property
    def adapters(self) -> list[LoadedAdapter]:
        return self._base.adapters

    def hold(self) -> AbstractContextManager[None]:
        return self._base.hold()

    async def wait_ready(self, timeout: float | None = None) -> EngineInfo:
        return self._adapted(await self._base.wait_ready(timeout))

    def submit(self, request: GenerateRequest) -> Generation:
        return self._base.submit(msgspec.structs.replace(request, adapter=self._adapter.digest))

    async def score(self, request: ScoreRequest) -> Scores:
        return await self._base.score(msgspec.structs.replace(request, adapter=self._adapter.digest))

    async def load_adapter(self, digest: str) -> None:
        await self._base.load_adapter(digest)

    async def drop_adapter(self, digest: str) -> None:
        await self._base.drop_adapter(digest)

    async def map_pages(self) -> PageLayout:
        return await self._base.map_pages()

    def _adapted(self, info: EngineInfo) -> EngineInfo:
        return msgspec.structs.replace(info, model_digest=with_adapter(info.model_digest, self._adapter))


def with_adapter(digest: str, adapter: AdapterVersion) -> str:
    """Of a base with the adapter: what is noted of its answers is noted under this."""
    return f"{digest}+{adapter.digest.removeprefix('sha256:')[:12]}"


def adapt(base: ServedModel, adapter: AdapterVersion) -> ServedModel:
    """Raises ModelNotFound when it was made for other weights than the base has now, InvalidRequest for an encoder."""
    version = base.version
    if version is not None:
        if unquantised(version.digest) != adapter.base_digest:
            raise ModelNotFound(
                f"The adapter {adapter.name!r} was made for other weights than {base.id!r} has now (their digest is "
                f"{adapter.base_digest}). Train it again, or pull that base."
            )
        version = msgspec.structs.replace(version, digest=with_adapter(version.digest, adapter))
    engine = AdaptedGenerator(base.generator, adapter)
    return dataclasses.replace(
        base, id=adapter.name, created=adapter.created, engine=engine, version=version, adapter=adapter
    )
