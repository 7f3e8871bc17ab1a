"""A server whose keys and usage are in a PostgreSQL, from the first key to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import tiny_models


@pytest.fixture
def database(postgres_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment of server and program."""
    return {"LLMOS_HOME": str(tmp_path / "home"), "LLMOS_DATABASE__URL": postgres_url}


@pytest.fixture
def tiny_server(database: dict[str, str], start_server, tmp_path: Path) -> Iterator[object]:
    tokenizer = tiny_models.train_tokenizer()
    tiny_models.save_folder(tmp_path / "tiny", tiny_models.create_model(tokenizer, "llama"), tokenizer)
    live = start_server(tmp_path, "file:tiny", env=database)
    live.wait_until_ready()
    yield live
    live.stop()


def test_a_key_from_its_creation_to_its_end(tiny_server, database: dict[str, str], tmp_path: Path) -> None:
    def llmos(*arguments: str) -> str:
        command = [sys.executable, "-m", "llmos_server", *arguments]
        environment = {**os.environ, **database}
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "not-shown" not in done.stdout + done.stderr  # The URL's password.
        return done.stdout

    def complete(key: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {key}", "X-Request-Id": "the-one"}
        body = {"prompt": "The sea", "max_tokens": 3, "ignore_eos": True}
        return httpx2.post(tiny_server.url + "/v1/completions", json=body, headers=headers, timeout=60)

    made = json.loads(llmos("keys", "create", "laptop", "--json"))
    assert complete("none").status_code == 401
    answer = complete(made["key"])
    assert answer.status_code == 200, answer.text

    tiny_server.key = made["key"]
    tiny_server.wait_for(lambda: tiny_server.metric("llmos:usage_rows_written_total") == 1, "in the ledger", 60)
    [total] = json.loads(llmos("usage", "--json"))
    usage = answer.json()["usage"]
    assert (total["group"], total["requests"]) == (made["id"], 1)
    assert total["completion_tokens"] == usage["completion_tokens"] == 3
    assert total["prompt_tokens"] == usage["prompt_tokens"]
    assert json.loads(tiny_server.get("/v1/usage/the-one")[1])["usage"]["model"] == answer.json()["model"]

    llmos("keys", "revoke", "laptop")
    assert complete(made["key"]).status_code == 401
    assert tiny_server.stop() == 0
    assert not (tmp_path / "home" / "llmos.db").exists()
    assert "not-shown" not in tiny_server.log.read_text()
