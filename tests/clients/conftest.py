"""The served models under the names that the captured requests ask for, over a scripted engine."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest

from llmos_server.api.app import create_api
from llmos_server.api.served import ModelDirectory, ServedModel
from llmos_server.settings import ApiSettings

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))  # for recorder


def load(name: str, path: Path) -> ModuleType:
    """tests/ is no package; what other folders share is loaded once, by path."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


routes_built_once = load("llmos_test_api_app", TESTS / "api" / "conftest.py").routes_built_once


@asynccontextmanager
async def served(script: str) -> AsyncIterator[httpx2.AsyncClient]:
    fakes = load("llmos_test_fakes", TESTS / "fakes.py")
    renderer = fakes.ByteRenderer()
    generator = fakes.ScriptedGenerator(script, max_model_len=10**6)
    encoder = fakes.ScriptedEncoder(max_input_tokens=512)
    models = [
        ServedModel(id="smollm2:135m", created=1700000000, renderer=renderer, engine=generator),
        ServedModel(id="all-minilm-l6-v2", created=1700000000, renderer=renderer, engine=encoder, kind="encoder"),
    ]
    directory = ModelDirectory(models, aliases={"text-embedding-3-small": "all-minilm-l6-v2"})
    app = create_api(directory, ApiSettings())
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.fixture
def serve() -> Callable[[str], AbstractAsyncContextManager[httpx2.AsyncClient]]:
    """A client of an app whose engine says what it is given."""
    return served


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with served("Paris.") as client:
        yield client


@pytest.fixture(scope="session", name="start_server")
def start_server_fixture() -> Callable[..., Any]:
    """`llmos serve` as a process of its own, as the end-to-end tests start it."""
    start_server: Callable[..., Any] = load("llmos_test_live_server", TESTS / "e2e" / "conftest.py").start_server
    return start_server
