"""Makes the oracle of tests/models importable here, too, and starts servers as tests/e2e does."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "models"))
sys.path.insert(0, str(Path(__file__).parent))  # for job_house, killing


@pytest.fixture(scope="session")
def start_server(project: Path) -> Callable[..., Any]:
    """See tests/e2e/conftest.py."""
    spec = importlib.util.spec_from_file_location("llmos_e2e", project / "tests" / "e2e" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    e2e = sys.modules["llmos_e2e"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(e2e)
    start: Callable[..., Any] = e2e.start_server
    return start
