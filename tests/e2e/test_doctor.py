"""`llmos doctor` of a running server: the server looks itself over, an administrator reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.real_model


def test_the_server_tells_of_its_machine_and_its_engines(server) -> None:
    env = {**os.environ, "LLMOS_HOME": str(server.log.parent / "home"), "LLMOS_URL": f"{server.url}/v1"}
    command = [sys.executable, "-m", "llmos_server", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    assert f"over HTTP, at {server.url}" in done.stderr
    texts = [finding["text"] for finding in json.loads(done.stdout)]
    for word in ("Python 3.", "torch 2.", "OpenMP", "database", "engine of smollm2:135m: ready"):
        assert any(word in text for text in texts), word
    assert not any("port" in text for text in texts)


def test_nobody_else_is_told(server) -> None:
    status, text = server.get("/admin/v1/doctor")
    assert status == 403
    assert "admin" in text
