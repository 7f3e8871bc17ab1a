"""tests/fakes.py for the tests of this folder; tests/ is no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def fakes() -> ModuleType:
    if "llmos_test_fakes" not in sys.modules:
        spec = importlib.util.spec_from_file_location("llmos_test_fakes", Path(__file__).parents[1] / "fakes.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules["llmos_test_fakes"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["llmos_test_fakes"]
