"""`llmos plugins list`, and verbs that plugins bring."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CODE = """
from llmos_server import *
hook_api = "1.0"
def wave(name: str, /):
    "Wave at somebody."
    print(f"o/ {name}")
@hookimpl
def register_commands():
    return [Command(name="wave", run=wave), Command(name="list", run=wave)]
"""


@pytest.fixture
def llmos(tmp_path, monkeypatch):
    for name, code in (("waving", CODE), ("broken", "raise RuntimeError('no')")):
        folder = tmp_path / "plugins" / name
        folder.mkdir(parents=True)
        (folder / "plugin.py").write_text(code)
    monkeypatch.setenv("LLMOS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LLMOS_API__PORT", "1")
    monkeypatch.setenv("LLMOS_PLUGINS__FOLDERS", str(tmp_path / "plugins"))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "llmos_server", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    return run


def test_plugins_are_listed_with_what_they_offer_and_why_not(llmos):
    done = llmos("plugins", "list", "--json")
    assert done.returncode == 0, done.stderr
    listed = {plugin["name"]: plugin for plugin in json.loads(done.stdout)}
    assert listed["waving"]["offers"] == {"register_commands": ["wave", "list"]}
    assert listed["broken"]["state"] == "refused"
    assert "RuntimeError: no" in llmos("plugins", "list").stdout


def test_a_plugins_verb_runs_and_a_built_in_one_is_not_replaced(llmos):
    done = llmos("wave", "Ada")
    assert (done.returncode, done.stdout) == (0, "o/ Ada\n"), done.stderr
    assert "o/" not in llmos("list").stdout
    assert llmos("no-such-verb").returncode != 0
