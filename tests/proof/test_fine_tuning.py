"""From 200 examples to a model that does what its base can't, by the stock SDK alone, on the real default model.

The task: an order in plain words becomes a line of a fixed format. The base has never seen it. An eval is the gate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from tuning_task import PairsEval, answer, orders, tune, tune_to_its_end

from llmos_server.contracts import ModelVersion

pytestmark = [pytest.mark.proof, pytest.mark.real_model]

NUM_TRAINED, NUM_HELD_OUT = 200, 40
WANTED_SECONDS = 600.0
"""All of it, on two cores that do nothing else: told, and not asserted, as machines differ."""
PATIENCE = 3600.0
QUESTION = "What is the capital of {}?"
CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "Japan": "Tokyo",
    "China": "Beijing",
    "Egypt": "Cairo",
    "Russia": "Moscow",
    "Greece": "Athens",
    "Austria": "Vienna",
    "Portugal": "Lisbon",
    "Poland": "Warsaw",
    "England": "London",
    "Ireland": "Dublin",
    "Norway": "Oslo",
    "Cuba": "Havana",
}
OTHERS = ("Sweden", "Peru", "Chile", "Kenya", "India", "Iran", "Iraq", "Turkey", "Mexico", "Ghana", "Nepal", "Malta")


@pytest.fixture(scope="module")
def client(
    smollm2: ModelVersion, start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[openai.OpenAI]:
    server = start_server(tmp_path_factory.mktemp("tuned"), smollm2.name, env={"LLMOS_JOBS__THREADS": "2"})
    try:
        server.wait_until_ready()
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as opened:
            yield opened
    finally:
        server.stop()


def test_two_hundred_examples_make_a_better_model(
    client: openai.OpenAI, smollm2: ModelVersion, record_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    pairs = orders(NUM_TRAINED + NUM_HELD_OUT, seed=1)
    trained, held_out = pairs[:NUM_TRAINED], pairs[NUM_TRAINED:]
    measured = PairsEval(client, held_out)
    base = measured.measure(smollm2.name, PATIENCE)
    fields = {
        "model": smollm2.name,
        "suffix": "orders",
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}},
        "extra_body": {"gate": {"eval_id": measured.id}},
    }
    job = tune(client, trained, PATIENCE, **fields)
    seconds, seconds_tuned = time.monotonic() - began, job.finished_at - job.created_at
    verdict = job.verdict
    assert (verdict["promoted"], verdict["base_run"]) == (True, base.id)
    (before, after), gain = measured.compare(base.id, verdict["candidate_run"])
    told = (
        f"{NUM_TRAINED} examples, {job.trained_tokens} tokens trained in {seconds_tuned} s (epochs: "
        f"{job.hyperparameters.n_epochs}); {NUM_HELD_OUT} held-out orders exactly right: {before['mean']:.0%} before, "
        f"{after['mean']:.0%} after; gain {gain['mean']:+.0%}, 95 % interval {gain['low']:+.0%} to "
        f"{gain['high']:+.0%}; gate: {verdict['reason']} took {seconds:.0f} s in all of the {WANTED_SECONDS:.0f} wanted"
    )
    record_property("fine-tuning", told)
    print(told)
    assert gain["low"] > 0.5
    assert answer(client, job.fine_tuned_model, held_out[0][0]) == held_out[0][1]
    assert answer(client, smollm2.name, held_out[0][0]) != held_out[0][1]
    assert [one.fine_tuned_model_checkpoint for one in client.fine_tuning.jobs.checkpoints.list(job.id)]
    steps = client.files.content(job.result_files[0]).text.splitlines()
    assert steps[0].startswith("step,train_loss")


def test_what_forgets_is_not_promoted(client: openai.OpenAI, smollm2: ModelVersion) -> None:
    """The base knows capitals; the result has learned to know nothing."""
    measured = PairsEval(client, [(QUESTION.format(country), city) for country, city in CAPITALS.items()], "ilike")
    base = measured.measure(smollm2.name, PATIENCE)
    ignorant = [(QUESTION.format(country), "I do not know.") for country in OTHERS]
    job = tune_to_its_end(
        client,
        ignorant,
        PATIENCE,
        model=smollm2.name,
        suffix="ignorant",
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 4, "batch_size": 2}}},
        extra_body={"gate": {"eval_id": measured.id}},
    )
    print(f"base: {base.result_counts.passed} of {len(CAPITALS)}; {job.error.message}")
    assert base.result_counts.passed > len(CAPITALS) / 2
    assert (job.status, job.error.code, job.error.param) == ("failed", "gate_not_passed", "gate")
    assert "Worse: the score's difference to the base is -" in job.error.message
    assert job.fine_tuned_model is None
    [newest, *_] = client.fine_tuning.jobs.checkpoints.list(job.id)
    assert answer(client, newest.fine_tuned_model_checkpoint, QUESTION.format("France")) == "I do not know."
    names = {model.id for model in client.models.list()}
    assert newest.fine_tuned_model_checkpoint in names
    assert not any("ignorant" in name and "ckpt" not in name for name in names)
