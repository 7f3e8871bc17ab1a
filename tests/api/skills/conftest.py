"""An API with the skills of trial.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate
from llmos_server.settings import PluginsSettings


@pytest.fixture(scope="session")
def trial() -> ModuleType:
    """trial.py; tests/ is no package."""
    name = "llmos_test_trial_skills"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("trial.py"))
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture
def host(trial) -> PluginHost:
    host = PluginHost(PluginsSettings(max_failures=2))
    host.add(Candidate(name="trial", source="built-in", load=trial.Plugin), {})
    assert host.plugins["trial"].state == "on", host.plugins["trial"].reason
    return host


@pytest.fixture
def api(make_api, host):
    return make_api("Hello", plugins=host)
