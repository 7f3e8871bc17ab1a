"""Supervised tuning of a tiny model, as a job: what comes of it is served, and a run that was stopped ends the same."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from broken_adapters import FAULTS, Fault, served_with
from job_fakes import read_job
from ranks import run_in_two_ranks
from runs import LORA, Tuner
from tiny_model import conversations, write_lines

from llmos_server.adapter_contracts import AdapterVersion
from llmos_server.errors import InvalidRequest
from llmos_server.job_contracts import Cancelled, JobFailed, Paused
from llmos_server.jobs.failures import describe
from llmos_server.registry.adapter_folders import adapter_folder
from llmos_server.registry.registry import Registry
from llmos_server.settings import JobsSettings, Quantization
from llmos_server.store.database import Database
from llmos_server.store.store import Store
from llmos_server.training import checkpoints, guarded, publishing, verify
from llmos_server.training.checkpoints import whole_checkpoints
from llmos_server.training.spec import EvalGate, TuneResult, TuneSpec
from llmos_server.training.states import Nearness

pytestmark = pytest.mark.filterwarnings("ignore")  # Of the libraries, which warn of their own versions to come.


@pytest.fixture(scope="module")
def tuner(tmp_path_factory: pytest.TempPathFactory) -> Tuner:
    torch.set_num_threads(1)
    return Tuner(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("data") / "chats.jsonl", conversations(24))


@pytest.fixture(scope="module")
def whole(tuner: Tuner, data: Path) -> TuneResult:
    """Of a run that nobody disturbed."""
    job = tuner.run("ftjob-whole", tuner.spec(data))
    assert job.status == "succeeded"
    assert job.result is not None
    return msgspec.json.decode(job.result, type=TuneResult)


def losses(tuner: Tuner, job_id: str) -> list[float]:
    return [told["train_loss"] for _, told in sorted(tuner.steps[job_id].items()) if "train_loss" in told]


def test_losses_are_pinned(tuner: Tuner, whole: TuneResult) -> None:
    """So that a change of the numbers is seen, wherever it comes from."""
    assert losses(tuner, "ftjob-whole") == pytest.approx([5.7121, 5.5778, 5.3104, 5.2897, 5.2321, 5.2546], abs=0.005)


def test_the_result_and_each_checkpoint_are_names(tuner: Tuner, whole: TuneResult) -> None:
    assert whole.model == f"{tuner.model}:tidy"
    assert [one.model for one in whole.checkpoints] == [f"{tuner.model}:tidy-ckpt-step-{step}" for step in (3, 6)]
    assert (whole.num_examples, whole.total_steps) == (24, 6)
    assert whole.trained_tokens > 0
    told = losses(tuner, "ftjob-whole")
    assert [one.metrics["train_loss"] for one in whole.checkpoints] == [told[2], told[5]]


async def test_they_are_registered(tuner: Tuner, whole: TuneResult) -> None:
    store = Store(Database(tuner.place("ftjob-whole")))
    found = await store.adapters.find("", whole.model)
    names = {adapter.name for adapter in await store.adapters.list("")}
    await store.close()
    assert found is not None
    assert names >= {whole.model, *(one.model for one in whole.checkpoints)}
    assert found.base_digest == tuner.version.digest
    config = json.loads((adapter_folder(tuner.home, found.digest) / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == tuner.model


def test_a_run_that_was_paused_ends_as_if_it_had_not_been(tuner: Tuner, data: Path, whole: TuneResult) -> None:
    """In the middle of an epoch: the order of the examples and dropout's noise go on, too. To the last bit."""
    with pytest.raises(Paused):
        tuner.run("ftjob-paused", tuner.spec(data), stop_at=(4, Paused()))
    assert len(losses(tuner, "ftjob-paused")) == 4
    assert tuner.run("ftjob-paused", tuner.spec(data)).status == "succeeded"
    assert losses(tuner, "ftjob-paused") == losses(tuner, "ftjob-whole")


def test_a_cancel_ends_at_its_step_and_keeps_checkpoints(tuner: Tuner, data: Path) -> None:
    with pytest.raises(Cancelled):
        tuner.run("ftjob-cancel", tuner.spec(data), stop_at=(4, Cancelled()))
    kept = tuner.checkpoints("ftjob-cancel")
    assert [path.name for path in kept.glob("checkpoint-*")] == ["checkpoint-3"]


def test_a_full_disk_fails_the_run_and_keeps_what_was_before(
    tuner: Tuner, data: Path, small_disk: Path, fill: Callable[..., Path]
) -> None:
    folder = tuner.place("ftjob-full-disk") / "jobs" / "ftjob-full-disk"
    folder.parent.mkdir()
    folder.symlink_to(small_disk)

    def fill_behind(step: int) -> None:
        if step == 4:
            fill(small_disk, leave=4096)

    with pytest.raises(Exception) as caught:
        tuner.run("ftjob-full-disk", tuner.spec(data), on_step=fill_behind)
    assert describe(caught.value).code == "disk_full"
    assert [path.name for path in whole_checkpoints(small_disk / "checkpoints")] == ["checkpoint-3"]


def test_fewer_bits_are_verified_on_a_base_as_it_is(tuner: Tuner, data: Path) -> None:
    assert tuner.run("ftjob-bf16", tuner.spec(data, dtype="bfloat16", max_steps=1)).status == "succeeded"


def test_a_checkpoint_has_its_name_when_what_was_told_is_kept(
    tuner: Tuner, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed behind it, a run goes on there, and nobody would tell the losses before it."""
    kept: dict[str, int] = {}

    def publish(staged: Path, output: Path) -> Path:
        with closing(sqlite3.connect(tuner.place("ftjob-kept") / "llmos.db")) as database:
            query = "SELECT count(*) FROM job_events WHERE type = 'metrics'"
            kept[staged.name] = database.execute(query).fetchone()[0]
        return checkpoints.publish(staged, output)

    monkeypatch.setattr(guarded, "publish", publish)
    tuner.run("ftjob-kept", tuner.spec(data, max_steps=3))
    assert kept == {"checkpoint-3": 3}


def test_a_torn_checkpoint_is_not_taken(tuner: Tuner, data: Path, whole: TuneResult) -> None:
    with pytest.raises(Cancelled):
        tuner.run("ftjob-torn", tuner.spec(data), stop_at=(5, Cancelled()))
    kept = tuner.checkpoints("ftjob-torn")
    (kept / "checkpoint-3").rename(kept / "checkpoint-4")
    assert tuner.run("ftjob-torn", tuner.spec(data)).status == "succeeded"
    assert losses(tuner, "ftjob-torn") == losses(tuner, "ftjob-whole")


def test_a_loss_that_is_no_number_fails_the_run(tuner: Tuner, data: Path) -> None:
    with pytest.raises(JobFailed, match="was not a finite number") as caught:
        tuner.run("ftjob-nan", tuner.spec(data, learning_rate=1e30, max_grad_norm=0.0))
    assert caught.value.code == "diverged"


def test_a_run_that_would_take_too_much_memory_does_not_begin(
    tuner: Tuner, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dataclasses.replace(tuner.settings, jobs=JobsSettings(memory_bytes=2**29))
    monkeypatch.setattr(tuner, "settings", settings)
    with pytest.raises(JobFailed, match=r"take about 0\.9 GB of .* allows 0\.5 GB.* Raise") as caught:
        tuner.run("ftjob-large", tuner.spec(data))
    assert caught.value.code == "memory_insufficient"
    assert tuner.steps["ftjob-large"] == {}


def test_differences_count_by_how_likely_the_token_is() -> None:
    """Of the trainer's model: a token that it would never say moves nothing, one that it would say is met."""
    told = [verify.Told(logprobs, []) for logprobs in ([-0.01, -12.0], [-0.01, -10.0], [-0.2, -12.0])]
    assert verify.expected_difference(told[0], told[1]) < 1e-4
    assert verify.expected_difference(told[0], told[2]) == pytest.approx(0.19, abs=1e-4)


class Engines:
    """Asked in a process of their own about an adapter of the tiny model, as it is and with faults."""

    def __init__(self, tuner: Tuner, adapter: AdapterVersion) -> None:
        self._tuner, self._adapter = tuner, adapter
        self._exact = self.ask("exact")

    def ask(self, numerics: verify.Numerics, quantization: Quantization = "none") -> verify.Told:
        version = msgspec.structs.replace(self._tuner.version, quantization=quantization)
        ids = [[(7 * place * salt + 3 * place + salt) % 300 for place in range(40)] for salt in (1, 2)]
        return verify.ask_engine(version, self._adapter, ids, self._tuner.settings.engine, numerics)

    def nearness(self, fault: Fault | None, quantization: Quantization = "none") -> Nearness:
        with served_with(fault):
            return verify.nearness(self._exact, self.ask("fast", quantization))


@pytest.fixture(scope="module")
def engines(tuner: Tuner, whole: TuneResult) -> Engines:
    async def find() -> AdapterVersion | None:
        store = Store(Database(tuner.place("ftjob-whole")))
        found = await store.adapters.find("", whole.model)
        await store.close()
        return found

    found = asyncio.run(find())
    assert found is not None
    return Engines(tuner, msgspec.structs.replace(found, folder=str(adapter_folder(tuner.home, found.digest))))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_fast_numerics_alone_is_seen(engines: Engines, fault: str) -> None:
    near = engines.nearness(FAULTS[fault])
    assert near.adapted > 2 * near.allowed


@pytest.mark.parametrize("quantization", ["none", "int8"])
def test_rounding_is_none(engines: Engines, quantization: Quantization) -> None:
    near = engines.nearness(None, quantization)
    assert near.adapted < 0.8 * near.allowed
    assert near.effect > 0.3


def test_what_the_engine_computes_otherwise_is_not_served(
    tuner: Tuner, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = verify.ask_engine

    def ask_broken(*asked: Any) -> verify.Told:
        with served_with(FAULTS["half its scale"] if asked[-1] == "fast" else None):
            return ask(*asked)

    with served_with(FAULTS["half its scale"]), pytest.raises(JobFailed, match="in exact numerics"):
        tuner.run("ftjob-other", tuner.spec(data, max_steps=1))
    monkeypatch.setattr(verify, "ask_engine", ask_broken)
    with pytest.raises(JobFailed, match="hidden states by") as caught:
        tuner.run("ftjob-other", tuner.spec(data, max_steps=1))
    assert caught.value.code == "verification_failed"
    assert (tuner.checkpoints("ftjob-other") / "checkpoint-1").is_dir()


async def test_what_its_gate_refuses_gets_no_name(tuner: Tuner, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last checkpoint is asked, which answers under its own name, now and later."""

    def refuse(context: object, spec: TuneSpec, base: str, candidate: str) -> None:
        raise JobFailed(f"{candidate} is worse than {base}.", code="gate_not_passed")

    monkeypatch.setattr(publishing, "pass_gate", refuse)
    spec = msgspec.structs.replace(tuner.spec(data, max_steps=1), gate=EvalGate(eval_id="eval_1"))
    candidate = f"{tuner.model}:tidy-ckpt-step-1"
    with pytest.raises(JobFailed, match=f"{candidate} is worse than {tuner.model}"):
        tuner.run("ftjob-gate", spec)
    store = Store(Database(tuner.place("ftjob-gate")))
    names = {adapter.name for adapter in await store.adapters.list("")}
    await store.close()
    assert names == {candidate}


def test_packed_examples_do_not_see_each_other(tuner: Tuner, data: Path, whole: TuneResult) -> None:
    """Without padding, the same batches give the same losses: positions tell the examples apart."""
    tuner.run("ftjob-flat", tuner.spec(data, padding_free=True, lora_dropout=0.0, max_steps=2))
    tuner.run("ftjob-padded", tuner.spec(data, lora_dropout=0.0, max_steps=2))
    assert losses(tuner, "ftjob-flat") == pytest.approx(losses(tuner, "ftjob-padded"), abs=1e-4)


def test_packing_puts_whole_examples_together(tuner: Tuner, data: Path) -> None:
    """All of the file's tokens, in rows of several examples, and none is cut."""
    values = {"packing": True, "max_steps": -1, "num_train_epochs": 1.0, "per_device_train_batch_size": 1}
    [packed, padded] = (
        msgspec.json.decode(tuner.run(job_id, tuner.spec(data, **more)).result or b"", type=TuneResult)
        for job_id, more in (("ftjob-packed", values), ("ftjob-unpacked", values | {"packing": False}))
    )
    assert packed.trained_tokens == padded.trained_tokens
    assert packed.total_steps < padded.total_steps


def test_all_weights_become_a_model(tuner: Tuner, data: Path) -> None:
    values = LORA | {"use_peft": False, "learning_rate": 1e-3, "max_steps": 2, "save_strategy": "no"}
    spec = tuner.spec(data, **values)
    job = tuner.run("ftjob-full", spec)
    assert job.result is not None
    result = msgspec.json.decode(job.result, type=TuneResult)
    assert result.model == "tiny:tidy"
    version = Registry(tuner.home, {}, 1.0).get("tiny:tidy")
    assert version.digest != tuner.version.digest
    with pytest.raises(InvalidRequest, match="can't make one"):
        tuner.run("ftjob-keys", spec, owner="key_1")


def test_two_ranks_have_the_curve_of_one(tuner: Tuner, data: Path) -> None:
    """Each on half of every batch. The first one alone is asked to pause, and both do; both go on. Forked, for the
    libraries take ten seconds to import: tests/proof has them launched."""
    tuner.run("ftjob-alone", tuner.spec(data, lora_dropout=0.0))
    spec = tuner.spec(data, lora_dropout=0.0, per_device_train_batch_size=2)
    assert run_in_two_ranks(tuner, "ftjob-ranks", spec, stop_at=(4, Paused())) == ["Paused", "Paused"]
    assert len(losses(tuner, "ftjob-ranks")) == 4
    assert run_in_two_ranks(tuner, "ftjob-ranks", spec) == ["", ""]
    assert losses(tuner, "ftjob-ranks") == pytest.approx(losses(tuner, "ftjob-alone"), abs=1e-4)
    job = read_job(tuner.place("ftjob-ranks"), "", "ftjob-ranks")
    found = msgspec.json.decode(job.result or b"", type=TuneResult)
    assert [one.step for one in found.checkpoints] == [3, 6]
    kept = [path.name for path in tuner.checkpoints("ftjob-ranks").iterdir()]
    assert sorted(name for name in kept if not name.startswith(".")) == [f"checkpoint-{step}" for step in (3, 4, 6)]
