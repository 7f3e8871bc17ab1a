"""From 200 examples to a model that does what its base can't, by the stock SDK alone, on the real default model.

The task: an order in plain words becomes a line of a fixed format. The base has never seen it.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from tuning_task import answer, orders, tune, wait

from llmos_server.contracts import ModelVersion

pytestmark = [pytest.mark.proof, pytest.mark.real_model]

NUM_TRAINED, NUM_HELD_OUT = 200, 40
SECONDS = 600.0
"""All of it, on two cores that do nothing else."""


@pytest.fixture
def client(smollm2: ModelVersion, tmp_path: Path, project: Path) -> Iterator[openai.OpenAI]:
    spec = importlib.util.spec_from_file_location("llmos_e2e", project / "tests" / "e2e" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    e2e = sys.modules["llmos_e2e"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(e2e)
    server = e2e.start_server(tmp_path, smollm2.name, env={"LLMOS_JOBS__THREADS": "2"})
    try:
        server.wait_until_ready()
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as opened:
            yield opened
    finally:
        server.stop()


def make_eval(client: openai.OpenAI, pairs: list[tuple[str, str]]) -> Callable[[str], Any]:
    """measure(model): a completed run over the pairs."""
    schema = {"type": "object", "properties": {"text": {"type": "string"}, "wanted": {"type": "string"}}}
    check = {
        "type": "string_check",
        "name": "exact",
        "input": "{{sample.output_text}}",
        "reference": "{{item.wanted}}",
        "operation": "eq",
    }
    made = client.evals.create(
        data_source_config={"type": "custom", "item_schema": schema, "include_sample_schema": True},
        testing_criteria=[check],  # type: ignore[list-item]
    )
    items = [{"item": {"text": text, "wanted": wanted}} for text, wanted in pairs]

    def measure(model: str) -> Any:
        source = {
            "type": "completions",
            "model": model,
            "input_messages": {"type": "template", "template": [{"role": "user", "content": "{{item.text}}"}]},
            "sampling_params": {"temperature": 0, "max_completion_tokens": 40},
            "source": {"type": "file_content", "content": items},
        }
        run = client.evals.runs.create(made.id, data_source=source)  # type: ignore[arg-type]
        ends = ("completed", "failed", "canceled")
        return wait(lambda: client.evals.runs.retrieve(run.id, eval_id=made.id), ends, SECONDS)

    return measure


def test_two_hundred_examples_make_a_better_model(
    client: openai.OpenAI, smollm2: ModelVersion, record_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    pairs = orders(NUM_TRAINED + NUM_HELD_OUT, seed=1)
    trained, held_out = pairs[:NUM_TRAINED], pairs[NUM_TRAINED:]
    measure = make_eval(client, held_out)
    base = measure(smollm2.name)
    epochs = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}}
    job = tune(client, trained, SECONDS, model=smollm2.name, suffix="orders", method=epochs)
    seconds_tuned = job.finished_at - job.created_at
    tuned = measure(job.fine_tuned_model)
    seconds = time.monotonic() - began
    found: Any = client.get(f"/evals/{base.eval_id}/compare?runs={base.id},{tuned.id}", cast_to=object)
    exact = next(one for one in found["criteria"] if one["testing_criteria"] == "exact")
    before, after = exact["means"]
    gain = exact["differences"][0]
    record_property(
        "fine-tuning",
        f"{NUM_TRAINED} examples, {job.trained_tokens} tokens trained in {seconds_tuned} s (epochs: "
        f"{job.hyperparameters.n_epochs}); {NUM_HELD_OUT} held-out orders exactly right: {before['mean']:.0%} before, "
        f"{after['mean']:.0%} after; gain {gain['mean']:+.0%}, 95 % interval {gain['low']:+.0%} to "
        f"{gain['high']:+.0%}; {seconds:.0f} s in all",
    )
    assert gain["low"] > 0.5
    assert answer(client, job.fine_tuned_model, held_out[0][0]) == held_out[0][1]
    assert answer(client, smollm2.name, held_out[0][0]) != held_out[0][1]
    assert [one.fine_tuned_model_checkpoint for one in client.fine_tuning.jobs.checkpoints.list(job.id)]
    steps = client.files.content(job.result_files[0]).text.splitlines()
    assert steps[0].startswith("step,train_loss")
    assert seconds < SECONDS
