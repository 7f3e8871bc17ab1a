"""More models than memory: a real server with room for two of three."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fleet_load
import httpx2
import pytest
import tiny_models


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    folder = tmp_path_factory.mktemp("fleet")
    return fleet_load.create_references(folder, folder / "home")


@pytest.fixture
def server(references: dict[str, dict[str, str]], tmp_path: Path, start_server) -> Iterator:
    first = next(iter(references))
    home = Path(first.removeprefix("file:")).parent / "home"
    env = {
        "LLMOS_HOME": str(home),
        "LLMOS_ENGINE__MEMORY_BYTES": str(fleet_load.BUDGET_FOR_TWO),
        "LLMOS_ENGINE__CACHE_BYTES": str(fleet_load.CACHE_BYTES),
        "LLMOS_ENGINE__NUMERICS": "exact",  # The answers are Transformers' own.
    }
    live = start_server(tmp_path, first, "--threads", "1", env=env)
    live.wait_until_ready()
    yield live
    children = live.worker_pids()
    assert live.stop() == 0
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []


def check(server, references, *, clients: int, requests: int) -> dict[str, float]:
    """Drive it; every answer is right, and nothing is left of it afterwards. Returns what it took."""
    tally = asyncio.run(fleet_load.drive(server.url, references, clients=clients, requests=requests, seed=1))
    assert tally.wrong == []
    assert sum(tally.outcomes.values()) == clients * requests
    server.wait_for(lambda: server.metric("llmos:num_requests_running") == 0, "idle")
    server.wait_for(lambda: server.metric("llmos:model_open_requests") == 0, "free of users")
    # A worker that was told to stop is no loaded model any more and still a process for a moment.
    server.wait_for(lambda: server.metric("llmos:models_loaded") == len(server.worker_pids()), "free of old workers")
    assert server.metric("llmos:models_loaded") <= 2
    assert server.metric("llmos:memory_used_bytes") <= fleet_load.BUDGET_FOR_TWO
    return {**tally.outcomes, "loads": server.metric("llmos:model_loads_total")}


@pytest.mark.proof
def test_three_models_under_a_budget_for_two(server, references) -> None:
    assert set(references) <= set(served_names(server))
    figures = check(server, references, clients=12, requests=2)
    assert figures["loads"] >= 3


@pytest.mark.proof
def test_three_models_under_a_budget_for_two_for_long(server, references, record_property) -> None:
    figures = check(server, references, clients=12, requests=60)
    assert figures["loads"] >= 6
    for name, value in figures.items():
        record_property(name, value)


def test_a_model_too_large_is_refused_with_the_bytes(references, tmp_path: Path, start_server) -> None:
    first, second, _ = references
    home = Path(first.removeprefix("file:")).parent / "home"
    env = {
        "LLMOS_HOME": str(home),
        "LLMOS_ENGINE__MEMORY_BYTES": str(500 * 2**20),
        "LLMOS_ENGINE__CACHE_BYTES": str(fleet_load.CACHE_BYTES),
        "LLMOS_ENGINE__NUMERICS": "exact",  # The answers are Transformers' own.
        "LLMOS_MODELS__PINNED": first,
    }
    live = start_server(tmp_path, first, "--threads", "1", env=env)
    try:
        live.wait_until_ready()
        reply = httpx2.post(live.url + "/v1/completions", json={"model": second, "prompt": "x"}, trust_env=False)
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "model_too_large")
        for part in ("needs", "pinned", str(500 * 2**20), "engine.memory_bytes"):
            assert part in reply.json()["error"]["message"]
    finally:
        live.stop()


def test_the_program_asks_the_server(server, references, tmp_path: Path) -> None:
    """Each verb says that it did; what it did is seen over HTTP."""
    first, second, _ = references
    home = Path(first.removeprefix("file:")).parent / "home"

    def llmos(*words: str, url: str = server.url + "/v1") -> tuple[str, str]:
        env = {**os.environ, "LLMOS_HOME": str(home), "LLMOS_URL": url}
        command = [sys.executable, "-m", "llmos_server", *words]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        return done.stdout, done.stderr

    extra = tiny_models.save_folder(
        tmp_path / "extra",
        tiny_models.create_model(tiny_models.train_tokenizer(), "llama", num_hidden_layers=1),
        tiny_models.train_tokenizer(),
    )
    out, err = llmos("pull", "file:extra")
    assert f"over HTTP, at {server.url}" in err
    assert f"file:{extra}: ready" in out
    assert f"file:{extra}" in served_names(server)
    assert "context_length" in llmos("show", f"file:{extra}")[0]
    assert "ready" in llmos("load", second)[0]
    out, err = llmos("ps")
    assert second in out
    assert "are taken." in out
    assert "unloaded" in llmos("unload", second)[0]
    assert second not in llmos("ps")[0]
    assert {version["name"] for version in json.loads(llmos("list", "--json")[0])} >= set(references)
    assert "removed" in llmos("rm", f"file:{extra}")[0]
    assert f"file:{extra}" not in served_names(server)
    out, err = llmos("list", url="http://127.0.0.1:9/v1")
    assert out == ""
    assert "No server answers" in err


def served_names(server) -> list[str]:
    return [model["id"] for model in json.loads(server.get("/v1/models")[1])["data"]]
