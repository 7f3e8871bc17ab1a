"""Keys, usage and the database of a real server: revoked by another process, killed, restarted, backed up."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import openai
import pytest

MODEL = "smollm2:135m"

pytestmark = pytest.mark.real_model


def llmos(home: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmos_server", *arguments],
        env={**os.environ, "LLMOS_HOME": str(home), **env},
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def client(server, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0)


def complete(server, key: str, num_tokens: int = 4) -> None:
    client(server, key).completions.create(
        model=MODEL, prompt="Once upon a time", max_tokens=num_tokens, extra_body={"ignore_eos": True}
    )


def test_a_key_from_its_creation_to_its_end(own_server, start_server, tmp_path):
    home = tmp_path / "home"
    complete(own_server, "none")  # Open, as nobody ever made a key.
    made = llmos(home, "keys", "create", "laptop", "--json")
    assert "on the database" in made.stderr
    key = json.loads(made.stdout)["key"]
    with pytest.raises(openai.AuthenticationError):
        complete(own_server, "none")
    complete(own_server, key)

    over_http = {"LLMOS_URL": own_server.url}
    listed = llmos(home, "keys", "list", "--json", **over_http)
    assert "over HTTP" in listed.stderr
    assert [entry["name"] for entry in json.loads(listed.stdout)] == ["laptop"]
    own_server.wait_for(lambda: count_rows(home) == 2, "in the ledger", 60)
    used = json.loads(llmos(home, "usage", "--json", **over_http).stdout)
    assert sum(total["requests"] for total in used) == 2

    refused = llmos(home, "restore", "none.tar")
    assert "server uses" in refused.stderr
    saved = llmos(home, "backup", "saved.tar")
    assert saved.returncode == 0, saved.stderr

    assert llmos(home, "keys", "revoke", "laptop").returncode == 0
    with pytest.raises(openai.AuthenticationError):
        complete(own_server, key)
    assert own_server.stop() == 0
    restored = llmos(home, "restore", "saved.tar")
    assert restored.returncode == 0, restored.stderr
    again = start_server(tmp_path, MODEL)
    try:
        again.wait_until_ready()
        complete(again, key)  # As it was when the backup was made.
        with pytest.raises(openai.AuthenticationError):
            complete(again, "none")
    finally:
        again.stop()


@pytest.mark.proof
def test_a_killed_server_loses_nothing_that_was_committed(own_server, start_server, tmp_path):
    home = tmp_path / "home"
    key = json.loads(llmos(home, "keys", "create", "load", "--json").stdout)["key"]

    def load(_: int) -> None:
        with contextlib.suppress(openai.APIConnectionError, httpx2.TransportError):
            while True:
                complete(own_server, key, 2)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(load, n) for n in range(4)]
        own_server.wait_for(lambda: count_rows(home) >= 8, "in the ledger", 60)
        before = count_rows(home)
        own_server.process.kill()
        own_server.process.wait()
        for one in running:
            one.result(timeout=60)

    with sqlite3.connect(home / "llmos.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    assert count_rows(home) >= before
    again = start_server(tmp_path, MODEL)
    try:
        again.wait_until_ready()
        complete(again, key)
    finally:
        assert again.stop() == 0
    assert count_rows(home) >= before + 1  # The last row was written at the end.


def count_rows(home: Path) -> int:
    database = sqlite3.connect(home / "llmos.db", timeout=10)
    try:
        return database.execute("SELECT COUNT(*) FROM usage").fetchone()[0]
    finally:
        database.close()
