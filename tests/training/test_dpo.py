"""Preferences on a tiny model, as a job."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from runs import Tuner
from tiny_model import preferences, write_lines

from llmos_server.training.spec import TuneResult

pytestmark = pytest.mark.filterwarnings("ignore")  # Of the libraries, which warn of their own versions to come.


@pytest.fixture(scope="module")
def tuner(tmp_path_factory: pytest.TempPathFactory) -> Tuner:
    torch.set_num_threads(1)
    return Tuner(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("data") / "pairs.jsonl", preferences(24))


def test_the_better_answer_is_preferred(tuner: Tuner, data: Path) -> None:
    """Losses begin at log 2, where both answers are as likely as to the base; they are pinned."""
    job = tuner.run("ftjob-dpo", tuner.spec(data, "dpo", beta=0.5))
    assert job.result is not None
    assert msgspec.json.decode(job.result, type=TuneResult).model == f"{tuner.model}:tidy"
    told = [tuner.steps["ftjob-dpo"][step] for step in range(1, 7)]
    assert [step["train_loss"] for step in told] == pytest.approx(
        [0.6931, 0.2834, 0.1137, 0.0815, 0.0585, 0.0496], abs=0.005
    )
    assert told[-1]["rewards/accuracies"] == 1.0


def test_all_weights_against_a_copy_of_the_base(tuner: Tuner, data: Path) -> None:
    spec = tuner.spec(data, "dpo", use_peft=False, max_steps=2, learning_rate=1e-3, save_strategy="no")
    job = tuner.run("ftjob-dpo-full", spec)
    assert job.result is not None
    assert msgspec.json.decode(job.result, type=TuneResult).model == "tiny:tidy"
