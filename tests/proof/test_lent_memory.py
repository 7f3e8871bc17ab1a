"""A tuning job takes its memory while requests run: none fails or gets another answer; the model gives and gets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tuning_task import orders, training_lines

from llmos_server.contracts import ModelVersion
from llmos_server.engine.footprint import MemoryBudget
from llmos_server.engine.memory import memory_limit
from llmos_server.settings import EngineSettings

pytestmark = [pytest.mark.proof, pytest.mark.real_model]

MIB = 2**20
CACHE, SHARE, LENT = 640 * MIB, 2600 * MIB, 300 * MIB
"""Of the job's share, LENT has to come out of the cache."""
SCRIPT = Path(__file__).parent / "server_without_spare_memory.py"
PATIENCE = 900.0
METHOD: Any = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}}
FILLING = 24
"""Prompts of a thousand tokens or so: more pages than are left later."""


@pytest.fixture(scope="module")
def server(
    smollm2: ModelVersion, start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    alone = MemoryBudget(EngineSettings(cache_bytes=CACHE), memory_limit()).measure(smollm2, 1)
    settings = {
        "LLMOS_ENGINE__MEMORY_BYTES": str(alone.total + SHARE - LENT),
        "LLMOS_ENGINE__CACHE_BYTES": str(CACHE),
        "LLMOS_JOBS__MEMORY_BYTES": str(SHARE),
    }
    folder = tmp_path_factory.mktemp("lent")
    started = start_server(folder, smollm2.name, env=settings, program=(str(SCRIPT),))
    try:
        started.wait_until_ready()
        yield started
    finally:
        started.stop()


class Model:
    def __init__(self, url: str, name: str) -> None:
        self._client = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=PATIENCE)
        self._url, self._name = url, name

    def ask(self, number: int, words: int = 60) -> str:
        text = f"Number {number}. " + " ".join(f"w{number * k % 97}" for k in range(words))
        answer = self._client.completions.create(model=self._name, prompt=text, max_tokens=24, temperature=0)
        return answer.choices[0].text

    def watch(self, token: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        seen = httpx.get(f"{self._url}/admin/v1/overview", headers=headers).raise_for_status().json()
        model = next(model for model in seen["models"] if model["name"] == self._name)
        return {"lent": seen["lent_bytes"], "pages": model["pages"]["num_pages"], "rss": model["rss_bytes"] / MIB}


def test_requests_go_on_while_a_job_takes_memory(
    server: Any, smollm2: ModelVersion, record_property: Callable[[str, object], None]
) -> None:
    model = Model(server.url, smollm2.name)
    token = (server.log.parent / "home" / "admin.token").read_text().strip()
    with ThreadPoolExecutor(4) as pool:
        before = list(pool.map(model.ask, range(20)))
        list(pool.map(lambda number: model.ask(100 + number, 500), range(FILLING)))
        full = model.watch(token)
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)
        file = client.files.create(file=("pairs.jsonl", training_lines(orders(24, seed=1))), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(training_file=file.id, model=smollm2.name, seed=1, method=METHOD)
        lent, rounds = None, 0
        end = time.monotonic() + PATIENCE
        while client.fine_tuning.jobs.retrieve(job.id).status not in ("succeeded", "failed", "cancelled"):
            assert list(pool.map(model.ask, range(20))) == before
            rounds += 1
            seen = model.watch(token)
            lent = seen if seen["lent"] and (lent is None or seen["rss"] < lent["rss"]) else lent
            assert time.monotonic() < end
    job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "succeeded", job.error
    assert lent is not None
    assert lent["pages"] < full["pages"]
    assert full["rss"] - lent["rss"] > 100
    while model.watch(token)["pages"] != full["pages"]:
        assert time.monotonic() < end
        time.sleep(0.2)
    told = f"before {full}, while the job ran {lent}; {rounds * 20} requests beside it, all answered as before"
    record_property("lent memory", told)
    print(told)
