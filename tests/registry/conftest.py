from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from llmos_server.errors import LLMOSError
from llmos_server.registry.progress import create_progress
from llmos_server.registry.registry import Registry

sys.path.insert(0, str(Path(__file__).parent))  # for originals


def _load_fakes() -> ModuleType:
    name = "registry_fakes"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("fakes.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def fakes() -> ModuleType:
    """tests/registry/fakes.py."""
    return _load_fakes()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """An empty one, whose hub doesn't answer."""
    return Registry(tmp_path / "home", {}, 2.0, hub_endpoint="http://127.0.0.1:9")


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """The default model's real weights: LLMOS_TEST_GGUF, else from the registry in LLMOS_HOME, pulled there once."""
    given = os.environ.get("LLMOS_TEST_GGUF")
    if given:
        return Path(given)
    home = Path(os.environ.get("LLMOS_HOME") or Path.home() / ".llmos").expanduser()
    try:
        version = Registry(home, {}, 5.0).pull("smollm2:135m", create_progress())
    except LLMOSError as error:
        pytest.skip(f"smollm2:135m is not here and could not be fetched: {error}")
    return Path(version.weights[0])
