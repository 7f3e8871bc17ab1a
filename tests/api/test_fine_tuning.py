"""/v1/fine_tuning/jobs by the stock SDK, over a database. The runs are told of here as a job's process tells them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from stored_api import open_stored_api

from llmos_server.api.fine_tuning.order import Order
from llmos_server.job_contracts import Job, JobError, JobEvent
from llmos_server.store.job_leases import hold_of
from llmos_server.store.objects import now_milliseconds
from llmos_server.training.spec import TunedCheckpoint, TuneResult, TuneSpec

CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
PAIR = {
    "input": {"messages": [{"role": "user", "content": "Hi"}]},
    "preferred_output": [{"role": "assistant", "content": "Hello"}],
    "non_preferred_output": [{"role": "assistant", "content": "No"}],
}
GRADER = {
    "type": "string_check",
    "name": "equal",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
REINFORCED = {"type": "reinforcement", "reinforcement": {"grader": GRADER}}


@pytest.fixture
async def server(make_api, tmp_path):
    async with open_stored_api(make_api, tmp_path, max_file_bytes=3_000_000) as opened:
        yield opened


async def upload(server: Any, *lines: Any, purpose: str = "fine-tune", name: str = "a") -> str:
    content = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    made = await server.sdk(name).files.create(file=("data.jsonl", content), purpose=purpose)
    return str(made.id)


async def create(server: Any, *, lines: Any = (CHAT,) * 3, **fields: Any) -> Any:
    training_file = await upload(server, *lines)
    return await server.sdk().fine_tuning.jobs.create(model="tiny", training_file=training_file, **fields)


async def make_eval(server: Any, *, has_run: bool = True) -> str:
    evals = server.sdk().evals
    config = {"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True}
    made = await evals.create(data_source_config=config, testing_criteria=[GRADER])
    source = {
        "type": "completions",
        "model": "tiny",
        "input_messages": {"type": "template", "template": [{"role": "user", "content": "Hi"}]},
        "source": {"type": "file_content", "content": [{"item": {"answer": "Hello"}}]},
    }
    if has_run:
        reply = await server.call("POST", f"/v1/evals/{made.id}/runs", {"data_source": source})
        assert reply.status_code in (200, 201), reply.text
    return str(made.id)


class Runs:
    """What a job's process does with the database."""

    def __init__(self, server: Any) -> None:
        self.leases = server.store.job_leases
        self.store = server.store

    async def begin(self) -> Job:
        job = await self.leases.claim("test", ["tune"], now_milliseconds() + 1, 60_000)
        assert job is not None
        return job

    async def tell(self, job: Job, *messages: str, result: TuneResult | None = None, **values: Any) -> None:
        events = [JobEvent(job_id=job.id, number=0, created=now_milliseconds(), message=text) for text in messages]
        told = {} if result is None else {"result": msgspec.json.encode(result)}
        await self.leases.write(hold_of(job), {**told, **values}, events=events)

    async def succeed(self, job: Job, result: TuneResult) -> None:
        await self.leases.succeed(hold_of(job), msgspec.json.encode(result), now_milliseconds())


@pytest.fixture
def runs(server: Any) -> Runs:
    return Runs(server)


async def test_a_job_from_its_file_to_its_end(server, runs, tmp_path) -> None:
    sdk = server.sdk()
    made = await create(server, suffix="Tidy JSON!", seed=7, metadata={"team": "a"})
    assert (made.object, made.status, made.model, made.seed) == ("fine_tuning.job", "queued", "tiny", 7)
    assert made.method.type == "supervised"
    assert made.hyperparameters.n_epochs == made.hyperparameters.batch_size == "auto"
    assert (made.fine_tuned_model, made.finished_at, made.error, made.result_files) == (None, None, None, [])
    assert made.metadata == {"team": "a"}
    assert await sdk.fine_tuning.jobs.retrieve(made.id) == made

    job = await runs.begin()
    spec = msgspec.json.decode(job.payload, type=TuneSpec)
    assert (spec.method, spec.model, spec.values["seed"]) == ("sft", "tiny", 7)
    assert spec.suffix == f"Tidy-JSON-{made.id.removeprefix('ftjob-')[:4]}"
    assert set(spec.auto) == {"num_train_epochs", "per_device_train_batch_size", "learning_rate"}
    assert (tmp_path / "jobs" / job.id / spec.training_file).read_bytes().count(b"\n") == 3
    assert (await sdk.fine_tuning.jobs.retrieve(made.id)).status == "validating_files"

    chosen = {"num_train_epochs": 4.0, "per_device_train_batch_size": 2, "learning_rate": 2e-4}
    running = TuneResult(stage="training", num_examples=3, chosen=chosen, total_steps=8, estimated_finish=9000)
    await runs.tell(job, "Training has begun.", result=running, progress=0.25)
    now = await sdk.fine_tuning.jobs.retrieve(made.id)
    assert (now.status, now.estimated_finish, now.trained_tokens, now.progress) == ("running", 9, None, 0.25)
    assert (now.hyperparameters.n_epochs, now.hyperparameters.batch_size) == (4, 2)
    assert now.hyperparameters.learning_rate_multiplier == 1.0

    checkpoints = [
        TunedCheckpoint(step=step, model=f"tiny:x-ckpt-step-{step}", created=step * 1000, metrics={"train_loss": 0.5})
        for step in (4, 8)
    ]
    done = msgspec.structs.replace(
        running, model="tiny:x", trained_tokens=99, checkpoints=checkpoints, result_files=["file-1"]
    )
    await runs.succeed(job, done)
    ended = await sdk.fine_tuning.jobs.retrieve(made.id)
    assert (ended.status, ended.fine_tuned_model, ended.trained_tokens) == ("succeeded", "tiny:x", 99)
    assert ended.finished_at is not None
    assert ended.result_files == ["file-1"]
    assert (ended.progress, ended.estimated_finish) == (1.0, None)

    found = [one async for one in sdk.fine_tuning.jobs.checkpoints.list(made.id, limit=1)]
    assert [(one.step_number, one.fine_tuned_model_checkpoint, one.metrics.train_loss) for one in found] == [
        (8, "tiny:x-ckpt-step-8", 0.5),
        (4, "tiny:x-ckpt-step-4", 0.5),
    ]


async def test_what_the_request_says_is_what_the_run_gets(server, runs) -> None:
    eval_id = await make_eval(server)
    hyperparameters = {"n_epochs": 2, "batch_size": 8, "learning_rate_multiplier": 0.5, "beta": 0.3}
    made = await create(
        server,
        lines=[PAIR],
        method={"type": "dpo", "dpo": {"hyperparameters": hyperparameters}},
        validation_file=await upload(server, PAIR),
        extra_body={"set": {"lora_r": 4}, "too_long": "drop", "gate": {"eval_id": eval_id, "tolerance": 0.1}},
    )
    assert made.method.dpo.hyperparameters.model_dump(exclude_none=True) == hyperparameters
    assert (made.recipe, made.set, made.gate["eval_id"]) == ("dpo", {"lora_r": 4}, eval_id)
    spec = msgspec.json.decode((await runs.begin()).payload, type=Order)
    assert spec.method == "dpo"
    assert spec.values["num_train_epochs"] == 2
    assert spec.values["per_device_train_batch_size"] == 8
    assert spec.values["gradient_accumulation_steps"] == 1
    assert (spec.values["beta"], spec.values["lora_r"], spec.values["eval_strategy"]) == (0.3, 4, "epoch")
    assert (spec.learning_rate_multiplier, spec.too_long) == (0.5, "drop")
    assert (spec.gate.eval_id, spec.gate.tolerance) == (eval_id, 0.1)
    assert spec.validation_file == "validation.jsonl"
    assert spec.auto == ("learning_rate",)


async def test_a_gate_is_an_eval_that_was_run(server) -> None:
    with pytest.raises(openai.BadRequestError, match="No eval of yours"):
        await create(server, extra_body={"gate": {"eval_id": "eval_none"}})
    with pytest.raises(openai.BadRequestError, match="has no run yet"):
        await create(server, extra_body={"gate": {"eval_id": await make_eval(server, has_run=False)}})


async def test_a_grader_gives_the_reward(server, runs) -> None:
    asked = {"messages": [{"role": "user", "content": "2 + 2?"}], "answer": "4"}
    made = await create(server, lines=[asked], method=REINFORCED)
    assert made.method.reinforcement.grader.model_dump() == GRADER
    shown = made.method.reinforcement.hyperparameters
    assert (shown.n_epochs, shown.batch_size) == (1, 2)
    spec = msgspec.json.decode((await runs.begin()).payload, type=TuneSpec)
    assert (spec.method, spec.grader, spec.auto) == ("grpo", GRADER, ())
    batch = {"reinforcement": {"grader": GRADER, "hyperparameters": {"batch_size": 3, "n_epochs": "auto"}}}
    made = await create(server, lines=[asked], method=REINFORCED | batch)
    assert made.method.reinforcement.hyperparameters.batch_size == 3
    values = msgspec.json.decode((await runs.begin()).payload, type=TuneSpec).values
    assert values["per_device_train_batch_size"] == values["num_generations"]
    assert values["gradient_accumulation_steps"] == 3


async def test_a_named_recipe_keeps_its_values(server, runs) -> None:
    made = await create(server, extra_body={"recipe": "sft_lora"})
    assert made.recipe == "sft_lora"
    assert (made.hyperparameters.n_epochs, made.hyperparameters.batch_size) == (3, 8)
    spec = msgspec.json.decode((await runs.begin()).payload, type=TuneSpec)
    assert spec.auto == ()
    assert spec.values["num_train_epochs"] == 3


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"model": "other"}, "model", "isn't served"),
        ({"training_file": "file-none"}, "training_file", "No file of yours"),
        ({"validation_file": "file-none"}, "validation_file", "No file of yours"),
        ({"suffix": "x" * 65}, "suffix", "64"),
        ({"suffix": "…"}, "suffix", "letter or digit"),
        ({"seed": -1}, "seed", ">= 0"),
        ({"method": {"type": "reinforcement"}}, "method.reinforcement.grader", "missing"),
        (
            {"method": {"type": "reinforcement", "reinforcement": {"grader": GRADER | {"operation": "is"}}}},
            "method.reinforcement.grader.operation",
            "is",
        ),
        (
            {"method": REINFORCED | {"reinforcement": {"grader": GRADER, "hyperparameters": {"eval_samples": 3}}}},
            "method.reinforcement.hyperparameters.eval_samples",
            "num_generations",
        ),
        (
            {"method": REINFORCED | {"reinforcement": {"grader": GRADER, "hyperparameters": {"eval_interval": 3}}}},
            "method.reinforcement.hyperparameters.eval_interval",
            "validation_file",
        ),
        ({"method": {"type": "dpo", "supervised": {"hyperparameters": {}}}}, "method.supervised", "the type is dpo"),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 99}}}},
            "method.supervised.hyperparameters.n_epochs",
            "<= 50",
        ),
        ({"method": {"type": "dpo"}, "hyperparameters": {"n_epochs": 3}}, "hyperparameters", "older place"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations", "tensorboard"),
        ({"recipe": "sft_dora"}, "method", "a key can't make one"),
        ({"recipe": "none_such"}, "recipe", "there are"),
        ({"recipe": "dpo", "method": {"type": "supervised"}}, "recipe", "method.type is supervised"),
        ({"set": {"lorar": 3}}, "set.lorar", "Did you mean"),
        ({"set": {"push_to_hub": True}}, "set.push_to_hub", "nothing is pushed"),
        ({"set": {"num_train_epochs": 3}, "hyperparameters": {"n_epochs": 3}}, "set.num_train_epochs", "either"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(server, tmp_path, fields, param, words) -> None:
    body = {"model": "tiny", "training_file": await upload(server, CHAT), **fields}
    reply = await server.call("POST", "/v1/fine_tuning/jobs", body)
    assert reply.status_code in (400, 404), reply.text
    assert reply.json()["error"]["param"] == param
    assert words in reply.json()["error"]["message"]
    assert not (tmp_path / "jobs").exists() or not list((tmp_path / "jobs").iterdir())


async def test_bad_files_are_refused_with_their_lines(server) -> None:
    bad = [CHAT, b"{nonsense", {"messages": [{"role": "user", "content": "Hi"}]}, CHAT]
    with pytest.raises(openai.BadRequestError) as caught:
        await create(server, lines=bad)
    assert caught.value.code == "invalid_training_file"
    assert caught.value.param == "training_file"
    assert "2 of 4 lines can't be trained on. line 2: The JSON can't be read" in caught.value.message
    assert "line 3, messages[0].role: The last message is user's" in caught.value.message
    with pytest.raises(openai.BadRequestError, match="choose the method dpo"):
        await create(server, lines=[PAIR])
    with pytest.raises(openai.BadRequestError, match="validation_file: 1 of 1 lines"):
        await create(server, validation_file=await upload(server, PAIR))
    other = await upload(server, CHAT, purpose="batch")
    with pytest.raises(openai.BadRequestError, match="uploaded for batch"):
        await server.sdk().fine_tuning.jobs.create(model="tiny", training_file=other)


async def test_a_file_may_go_while_its_job_waits(server, runs, tmp_path) -> None:
    made = await create(server)
    await server.sdk().files.delete(made.training_file)
    job = await runs.begin()
    assert (tmp_path / "jobs" / job.id / "training.jsonl").is_file()


async def test_jobs_are_their_keys_own(server) -> None:
    made = await create(server)
    other = server.sdk("b")
    for ask in (other.fine_tuning.jobs.retrieve, other.fine_tuning.jobs.cancel, other.fine_tuning.jobs.pause):
        with pytest.raises(openai.NotFoundError, match="No fine-tuning job of yours"):
            await ask(made.id)
    assert [job async for job in other.fine_tuning.jobs.list()] == []
    with pytest.raises(openai.BadRequestError, match="No file of yours"):
        await other.fine_tuning.jobs.create(model="tiny", training_file=made.training_file)


async def test_pages_and_metadata(server) -> None:
    made = [await create(server, metadata={"n": str(n)} if n else None) for n in range(3)]
    jobs = server.sdk().fine_tuning.jobs
    assert {job.id async for job in jobs.list(limit=1)} == {job.id for job in made}
    assert [job.id async for job in jobs.list(metadata={"n": "2"})] == [made[2].id]
    assert [job.id async for job in jobs.list(extra_query={"metadata": "null"})] == [made[0].id]
    with pytest.raises(openai.BadRequestError, match="There is no job"):
        await jobs.list(after="ftjob-none")


async def test_pause_resume_and_cancel(server, runs) -> None:
    made = await create(server)
    path = f"/v1/fine_tuning/jobs/{made.id}"
    assert (await server.call("POST", f"{path}/pause")).json()["status"] == "paused"
    assert (await server.call("POST", f"{path}/resume")).json()["status"] == "queued"
    job = await runs.begin()
    assert (await server.call("POST", f"{path}/pause")).json()["status"] == "validating_files"
    assert await runs.leases.wish_of(hold_of(job)) == "pause"
    assert (await server.call("POST", f"{path}/resume")).status_code == 200
    assert await runs.leases.wish_of(hold_of(job)) == ""
    await server.sdk().fine_tuning.jobs.cancel(made.id)
    assert await runs.leases.wish_of(hold_of(job)) == "cancel"
    await runs.leases.give_back(hold_of(job), "Cancelled", now_milliseconds(), None)
    assert (await server.call("GET", path)).json()["status"] == "cancelled"
    for action in ("cancel", "pause", "resume"):
        reply = await server.call("POST", f"{path}/{action}")
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_job_status")


async def test_a_failure_tells_why(server, runs) -> None:
    made = await create(server)
    job = await runs.begin()
    error = JobError("invalid_training_file", "line 3 is too long.", "training_file")
    await runs.leases.fail(hold_of(job), error, now_milliseconds())
    failed = await server.sdk().fine_tuning.jobs.retrieve(made.id)
    assert (failed.status, failed.fine_tuned_model) == ("failed", None)
    assert (failed.error.code, failed.error.message, failed.error.param) == (error.code, error.message, error.param)


async def test_events_are_listed_from_the_newest(server, runs) -> None:
    made = await create(server)
    await runs.tell(await runs.begin(), "one", "two", "three")
    jobs = server.sdk().fine_tuning.jobs
    assert [event.message async for event in jobs.list_events(made.id, limit=2)] == ["three", "two", "one"]
    first = (await jobs.list_events(made.id, limit=1)).data[0]
    assert (first.object, first.level, first.type) == ("fine_tuning.job.event", "info", "message")
    with pytest.raises(openai.BadRequestError, match="There is no event"):
        await jobs.list_events(made.id, after="ftevent-x-1")


async def test_events_are_streamed_to_the_jobs_end(server, runs) -> None:
    made = await create(server)
    job = await runs.begin()
    await runs.tell(job, "one", "two")
    first = (await server.sdk().fine_tuning.jobs.list_events(made.id)).data[-1]
    await runs.tell(job, "three")
    await runs.succeed(job, TuneResult(model="tiny:x"))
    path = f"/v1/fine_tuning/jobs/{made.id}/events?stream=true"

    async def stream(query: str = "") -> list[str]:
        text = (await server.call("GET", path + query)).text
        return [line.removeprefix("data: ") for line in text.splitlines() if line]

    *told, end = await stream()
    assert [json.loads(line)["message"] for line in told] == ["one", "two", "three"]
    assert end == "[DONE]"
    assert [json.loads(line)["message"] for line in (await stream(f"&after={first.id}"))[:-1]] == ["two", "three"]


async def test_a_server_that_keeps_nothing_tunes_nothing(make_api, tmp_path: Path) -> None:
    async with open_stored_api(make_api, tmp_path, enabled=False) as server:
        reply = await server.call("POST", "/v1/fine_tuning/jobs", {"model": "tiny", "training_file": "x"})
        assert reply.json()["error"]["code"] == "storage_disabled"
