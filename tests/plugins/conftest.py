"""Plugins in folders of their own, and hosts that load them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmos_server.plugins.host import PluginHost, load_plugins
from llmos_server.settings import PluginsSettings


@pytest.fixture(autouse=True)
def forget_modules() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.startswith("llmos_plugin_")]:
        del sys.modules[name]


@pytest.fixture
def write_plugin(tmp_path: Path) -> Callable[..., Path]:
    """write_plugin("name", code, **files): a folder with plugin.py, which begins as most of them do."""

    def write(name: str, code: str, *, api: str = '"1.0"', **files: str) -> Path:
        folder = tmp_path / "plugins" / name
        folder.mkdir(parents=True)
        head = f"from llmos_server import *\nhook_api = {api}\n" if api else "from llmos_server import *\n"
        (folder / "plugin.py").write_text(head + code)
        for file, text in files.items():
            (folder / f"{file}.py").write_text(text)
        return folder

    return write


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., PluginHost]:
    """A host with all that write_plugin wrote. options: settings of the [plugins] section."""

    def load_folder(**options: Any) -> PluginHost:
        folders = (str(tmp_path / "plugins"),)
        return load_plugins(PluginsSettings(folders=folders, **options), built_in=False)

    return load_folder
