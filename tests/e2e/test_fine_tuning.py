"""A tiny model is tuned by the stock SDK on a real server: the job, its gate, its events, its names.
proof/test_fine_tuning.py does it with a real model and a real task."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import tiny_models
from tuning_task import PairsEval, answer, orders, training_lines, tune, wait

MODEL = "file:tiny"
SECONDS = 120.0
SHORT = {"set": {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "lora_r": 4, "logging_steps": 1}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tuned")


@pytest.fixture(scope="module")
def client(start_server: Any, home: Path) -> Iterator[openai.OpenAI]:
    tokenizer = tiny_models.train_tokenizer()
    tiny_models.save_folder(home / "tiny", tiny_models.create_model(tokenizer, "llama"), tokenizer)
    server = start_server(home, MODEL, env={"LLMOS_ENGINE__NUMERICS": "exact"})
    try:
        server.wait_until_ready()
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as opened:
            yield opened
    finally:
        server.stop()


def test_a_job_leaves_names_that_answer(client: openai.OpenAI) -> None:
    measured = PairsEval(client, orders(3, seed=4))
    base = measured.measure(MODEL, SECONDS)
    gate = {"gate": {"eval_id": measured.id, "tolerance": 1}}
    job = tune(client, orders(12, seed=2), SECONDS, model=MODEL, suffix="orders", extra_body={**SHORT, **gate})
    assert (job.verdict["promoted"], job.verdict["base_run"]) == (True, base.id)
    candidate = measured.run(job.verdict["candidate_run"])
    assert candidate.model_digest == client.models.retrieve(job.fine_tuned_model).digest != base.model_digest
    name = job.fine_tuned_model
    assert name.startswith(f"{job.model}:orders-")
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id))
    assert [one.step_number for one in checkpoints] == [4, 2]
    assert [one.fine_tuned_model_checkpoint for one in checkpoints] == [f"{name}-ckpt-step-{step}" for step in (4, 2)]
    for model in (name, checkpoints[1].fine_tuned_model_checkpoint):
        assert isinstance(answer(client, model, "In Oslo, Tom Hill is waiting for 3 maps."), str)
    events = list(client.fine_tuning.jobs.list_events(job.id))
    assert "training_file: 12 examples in 12 lines." in {event.message for event in events}
    told = [event for event in events if event.type == "metrics"]
    assert {event.data["step"] for event in told} == {1, 2, 3, 4}  # type: ignore[index,attr-defined]
    rows = client.files.content(job.result_files[0]).text.splitlines()
    assert len(rows) == 1 + 4
    assert job.trained_tokens > 0


def test_reinforcement_samples_by_the_servers_own_engine(client: openai.OpenAI, home: Path) -> None:
    """In exact numerics the engine's probabilities are the trainer's. What was pushed on the way is gone, from the
    engine, too."""
    num_loaded = adapter_metric(client, "adapters_loaded")
    lines = [{"messages": [{"role": "user", "content": text}], "answer": wanted} for text, wanted in orders(8, seed=3)]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    file = client.files.create(file=("questions.jsonl", content), purpose="fine-tune")
    few = {"num_generations": 4, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}
    settings = {**SHORT["set"], **few, "max_steps": 3, "save_strategy": "no", "max_completion_length": 8}
    wanted = {"type": "text_similarity", "evaluation_metric": "fuzzy_match", "pass_threshold": 0.5, "name": "near"}
    grader = {**wanted, "input": "{{sample.output_text}}", "reference": "{{item.answer}}"}
    method = {"type": "reinforcement", "reinforcement": {"grader": grader}}
    made = client.fine_tuning.jobs.create(
        model=MODEL, training_file=file.id, method=method, seed=1, suffix="graded", extra_body={"set": settings}
    )
    jobs = client.fine_tuning.jobs
    done = wait(lambda: jobs.retrieve(made.id), ("succeeded", "failed"), SECONDS)
    assert done.status == "succeeded", done.error
    events = list(jobs.list_events(made.id))
    assert any(event.message.startswith("Answers are sampled by this server's engine") for event in events)
    ratios = [event.data["sampling/importance_sampling_ratio/mean"] for event in events if event.type == "metrics"]
    assert ratios == pytest.approx([1.0] * 3, abs=1e-3)
    roots = {model.id: model.root for model in client.models.list() if model.parent}  # type: ignore[attr-defined]
    assert not any(":." in name for name in roots)
    assert {f"sha256:{folder.name}" for folder in (home / "home" / "adapters").iterdir()} == set(roots.values())
    assert adapter_metric(client, "adapters_loaded") == num_loaded
    assert adapter_metric(client, "adapter_loads_total") >= 3


def adapter_metric(client: openai.OpenAI, name: str) -> float:
    """Of all engines."""
    text = httpx2.get(str(client.base_url.copy_with(path="/metrics"))).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"llmos:{name}{{"))


def test_a_job_that_is_cancelled_ends_within_a_step(client: openai.OpenAI) -> None:
    file = client.files.create(file=("orders.jsonl", training_lines(orders(12, seed=2))), purpose="fine-tune")
    many = {"set": {**SHORT["set"], "max_steps": 100_000, "save_steps": 50_000}}
    made = client.fine_tuning.jobs.create(model=MODEL, training_file=file.id, extra_body=many)
    jobs = client.fine_tuning.jobs

    def metrics() -> Any:
        found = jobs.retrieve(made.id)
        assert found.status in ("queued", "validating_files", "running"), found.error
        events = jobs.list_events(made.id).data
        found.status = "succeeded" if any(event.type == "metrics" for event in events) else found.status
        return found

    wait(metrics, ("succeeded",), SECONDS)
    jobs.cancel(made.id)
    assert wait(lambda: jobs.retrieve(made.id), ("cancelled",), SECONDS).fine_tuned_model is None
