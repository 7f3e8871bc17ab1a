"""An API over a scripted engine, in this process."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import jsonschema
import pytest
import uvicorn
from migrated import migrate
from shared_routes import create_litestar

from llmos_server.api import app as api_app
from llmos_server.api.app import create_api
from llmos_server.api.http.connections import BoundedProtocol
from llmos_server.api.served import ModelDirectory, ServedModel
from llmos_server.files.folder import FileFolder
from llmos_server.settings import ApiSettings, EvalsSettings

TESTS = Path(__file__).parents[1]


def _load(name: str, path: Path) -> ModuleType:
    """tests/ is no package; what several files share is loaded once, by path."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def fakes() -> ModuleType:
    return _load("llmos_test_fakes", TESTS / "fakes.py")


@pytest.fixture(scope="session", autouse=True)
def routes_built_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api_app, "Litestar", create_litestar)
        yield


@pytest.fixture
async def make_house(tmp_path: Path, fakes: ModuleType) -> AsyncIterator[Callable[..., Any]]:
    """A server whose models are a registry's; see tests/api/house.py."""
    files = _load("llmos_test_registry_files", TESTS / "registry" / "fakes.py")
    houses: list[Any] = []

    def make(**options: Any) -> Any:
        houses.append(_load("llmos_test_house", TESTS / "api" / "house.py").House(tmp_path, files, fakes, **options))
        return houses[-1]

    yield make
    for made in houses:
        await made.http.aclose()
        await asyncio.wait_for(made.fleet.stop(), 20)


@pytest.fixture
async def house(make_house: Callable[..., Any]) -> Any:
    return make_house()


@contextmanager
def run_app(app: Any, protocol: type[BoundedProtocol] = BoundedProtocol) -> Iterator[str]:
    """The app on a free loopback port, in a thread, as llmos serve runs it; gives its URL."""
    config = uvicorn.Config(app, http=protocol, log_config=None, access_log=False, timeout_graceful_shutdown=5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # As uvloop does it for llmos serve; asyncio leaves it out, and each answer comes 40 ms later.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture(scope="session", name="run_app")
def run_app_fixture() -> Callable[..., AbstractContextManager[str]]:
    return run_app


class Api:
    """A Litestar app over one scripted model "tiny" (alias "gpt-4o-mini"), and a client that talks to it in process."""

    def __init__(self, app: Any, generator: Any, renderer: Any) -> None:
        self.app = app
        self.generator = generator
        self.renderer = renderer
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1:8000")

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        return await self.http.post(path, json=body, **options)

    async def chat(
        self, content: str = "Hi", *, headers: dict[str, str] | None = None, **fields: Any
    ) -> httpx2.Response:
        body = {"model": "tiny", "messages": [{"role": "user", "content": content}], **fields}
        return await self.post("/v1/chat/completions", body, headers=headers)

    async def complete(self, prompt: Any = "Once", **fields: Any) -> httpx2.Response:
        return await self.post("/v1/completions", {"model": "tiny", "prompt": prompt, **fields})


@pytest.fixture
async def make_api(fakes: ModuleType) -> AsyncIterator[Callable[..., Api]]:
    async with AsyncExitStack() as stack:

        def make(
            script: Any = "Hello",
            *,
            renderer: Any = None,
            settings: dict[str, Any] | None = None,
            encoder: Any = None,
            classifier: Any = None,
            store: Any = None,
            plugins: Any = None,
            calibrations: Any = None,
            gate: Any = None,
            tool_providers: Any = None,
            usage: Any = None,
            evals: dict[str, Any] | None = None,
            **engine: Any,
        ) -> Api:
            """encoder: served as "small", beside the generator, where embeddings go without a model's name.
            classifier: served as "kinds"."""
            generator = fakes.ScriptedGenerator(script, **engine)
            renderer = renderer or fakes.ByteRenderer()
            models = [ServedModel(id="tiny", created=1700000000, renderer=renderer, engine=generator)]
            if encoder is not None:
                models.append(ServedModel(id="small", created=1, renderer=renderer, engine=encoder, kind="encoder"))
            if classifier is not None:
                kind = "classifier"
                models.append(ServedModel(id="kinds", created=1, renderer=renderer, engine=classifier, kind=kind))
            app = create_api(
                ModelDirectory(models, aliases={"gpt-4o-mini": "tiny"}),
                ApiSettings(**(settings or {})),
                embedding_default="small" if encoder is not None else None,
                server_version="1.2.3",
                store=store,
                plugins=plugins,
                calibrations=calibrations,
                gate=gate,
                tool_providers=tool_providers,
                usage=usage,
                evals=EvalsSettings(**(evals or {})),
                files=FileFolder(store.database.home) if store else None,
                on_startup=[partial(migrate, store.database)] if store else [],
                on_shutdown=[store.close] if store else [],
            )
            api = Api(app, generator, renderer)
            stack.push_async_callback(api.http.aclose)
            return api

        yield make


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    return make_api()


@pytest.fixture(scope="session")
def conforms() -> Callable[[Any, str], None]:
    """Check a body against a schema of OpenAI's document."""
    path = os.environ.get("OPENAI_OPENAPI", "")
    if not Path(path).is_file():
        pytest.skip("OPENAI_OPENAPI names no copy of OpenAI's openapi.json")
    schemas = json.loads(Path(path).read_text())["components"]["schemas"]

    def as_json_schema(node: Any) -> Any:
        """OpenAPI's "nullable" is JSON Schema's type null."""
        if isinstance(node, list):
            return [as_json_schema(item) for item in node]
        if not isinstance(node, dict):
            return node
        plain = {key: as_json_schema(value) for key, value in node.items() if key not in ("nullable", "discriminator")}
        return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain

    document = {"components": {"schemas": as_json_schema(schemas)}}

    def check(body: Any, name: str) -> None:
        schema = {**document, "$ref": f"#/components/schemas/{name}"}
        jsonschema.Draft202012Validator(schema).validate(body)

    return check
