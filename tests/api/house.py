"""A server over a real registry and fake workers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2

from llmos_server.access.gate import Gate
from llmos_server.api.app import create_api
from llmos_server.api.model_admin import ModelAdmin
from llmos_server.api.pins import Pins
from llmos_server.api.registry_directory import RegistryDirectory
from llmos_server.api.renderers import RendererCache
from llmos_server.engine.fleet_engine import EngineFleet
from llmos_server.engine.footprint import Footprint
from llmos_server.errors import StoreUnavailable, UnsupportedModel
from llmos_server.registry.progress import QuietProgress
from llmos_server.registry.registry import Registry
from llmos_server.settings import ApiSettings

TOKEN = "llmos-admin-" + "t" * 43
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
SIZE = Footprint(weights=0, cache=0).total


class FakePinned:
    """A PinnedModelRepository without a database."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.is_broken = False

    async def list(self) -> list[str]:
        return sorted(self.names)

    async def add(self, name: str) -> None:
        self.names.add(name)

    async def remove(self, name: str) -> None:
        if self.is_broken:
            raise StoreUnavailable("The disk is full.")
        self.names.discard(name)


class House:
    """A server over a home of its own with models a and b, and room for `budget` workers."""

    def __init__(
        self,
        folder: Path,
        files: ModuleType,
        fakes: ModuleType,
        budget: int = 2,
        idle_seconds: float = 0.0,
        pinned: tuple[str, ...] = (),
        read_attention: Any = None,
    ) -> None:
        """pinned: by the settings; "a" or "b"."""
        names = {f"file:{folder}/{name}.gguf" for name in pinned}
        self.folder, self.files, self.fakes = folder, files, fakes
        self.registry = Registry(folder / "home", {"gpt": f"file:{folder}/a.gguf"}, 1.0)
        self.broken: set[str] = set()
        self.workers: list[Any] = []
        self.gate: asyncio.Event | None = None
        self.fleet = EngineFleet(
            budget * SIZE,
            lambda version, _: Footprint(weights=0, cache=0),
            self.create_worker,
            patience=0.02,
            idle_seconds=idle_seconds,
            pinned=names,
        )
        self.pinned = FakePinned()
        self.pins = Pins(self.fleet, self.pinned, names)  # type: ignore[arg-type]
        self.a, self.b = self.pull("a"), self.pull("b", 1.0)
        directory = RegistryDirectory(
            self.registry, self.fleet, RendererCache(self.load_renderer), default=self.a, aliases={"gpt": self.a}
        )
        self.admin = ModelAdmin(self.registry, self.fleet, directory, "cafe", self.pins, read_attention)
        self.app = create_api(
            directory,
            ApiSettings(),
            gate=Gate(admin_token=TOKEN),
            fleet=self.fleet,
            model_admin=self.admin,
        )
        transport = httpx2.ASGITransport(app=self.app)
        self.http = httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=ADMIN)

    def pull(self, name: str, fill: float = 0.0) -> str:
        metadata = {**self.files.tiny_metadata(), "llama.rope.freq_base": 10000.0 + fill}
        self.files.write_gguf(self.folder / f"{name}.gguf", metadata=metadata)
        return self.registry.pull(f"file:{self.folder}/{name}.gguf", QuietProgress()).name

    def create_worker(self, version: Any, footprint: Footprint) -> Any:
        generator = self.fakes.ScriptedGenerator(version.digest, state="ready")
        generator.gate = self.gate
        generator.pid, generator.num_restarts = 1, 0

        async def start() -> None:
            """Ready from the beginning."""

        async def stop(grace: float = 0.0) -> None:
            generator.state = "stopped"

        generator.start, generator.stop = start, stop
        self.workers.append(generator)
        return generator

    def load_renderer(self, folder: Path) -> Any:
        if str(folder) in self.broken:
            raise UnsupportedModel("tokenizer.json is missing")
        return self.fakes.ByteRenderer()

    async def ask(self, model: str | None = None) -> httpx2.Response:
        body = {"prompt": "x", "max_tokens": 100, **({} if model is None else {"model": model})}
        return await self.http.post("/v1/completions", json=body)

    async def text(self, model: str | None = None) -> str:
        reply = await self.ask(model)
        assert reply.status_code == 200, reply.text
        return str(reply.json()["choices"][0]["text"])

    async def status(self, model: str) -> dict[str, Any]:
        listed = (await self.http.get("/admin/v1/models")).json()["data"]
        return next(entry["status"] for entry in listed if entry["version"]["name"] == model)
