"""The recipes of methods beyond SFT and DPO, as jobs over a tiny model: three steps each, their losses pinned."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from llmos_recipes import find_recipe
from runs import Tuner
from tiny_model import conversations, preferences, write_lines

from llmos_server.errors import InvalidRequest
from llmos_server.training.recipe import override, read_recipe
from llmos_server.training.spec import TuneResult, TuneSpec

pytestmark = pytest.mark.filterwarnings("ignore")  # Of the libraries, which warn of their own versions to come.


def ratings(num: int) -> Iterator[dict[str, object]]:
    """Every second one is a bad answer."""
    for number, line in enumerate(conversations(num)):
        asked, answer = line["messages"]  # type: ignore[misc]
        is_good = number % 2 == 1
        given = answer if is_good else {"role": "assistant", "content": "I can't tell."}
        yield {"prompt": [asked], "completion": [given], "label": is_good}


@pytest.fixture(scope="module")
def tuner(tmp_path_factory: pytest.TempPathFactory) -> Tuner:
    torch.set_num_threads(1)
    return Tuner(tmp_path_factory.mktemp("home"))


def run_recipe(tuner: Tuner, name: str, data: Path, suffix: str = "", **others: Any) -> TuneResult:
    """Three steps of it."""
    path = find_recipe(name)
    assert path
    settings = {"max_steps": 3, "logging_steps": 1, "save_strategy": "no"} | others
    recipe = override(read_recipe(path), [f"{key}={json.dumps(value)}" for key, value in settings.items()])
    spec = TuneSpec(
        method=recipe.method,
        model=tuner.model,
        values=recipe.values,
        training_file=str(data),
        suffix=suffix or name.replace("_", "-"),
    )
    job = tuner.run(f"ftjob-{spec.suffix}", spec)
    assert job.result is not None
    return msgspec.json.decode(job.result, type=TuneResult)


def losses(tuner: Tuner, name: str) -> list[float]:
    return [
        told["train_loss"]
        for _, told in sorted(tuner.steps["ftjob-" + name.replace("_", "-")].items())
        if "train_loss" in told
    ]


def test_ratings(tuner: Tuner, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "data.jsonl", ratings(24))
    assert run_recipe(tuner, "kto", data, learning_rate=1e-2).model == f"{tuner.model}:kto"
    assert losses(tuner, "kto") == pytest.approx([0.5, 0.5, 0.4376], abs=0.002)


def test_ratings_of_one_kind_are_refused(tuner: Tuner, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "data.jsonl", (line | {"label": True} for line in ratings(4)))
    with pytest.raises(InvalidRequest, match="same label"):
        run_recipe(tuner, "kto", data, "one-kind")


def test_odds_ratios(tuner: Tuner, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "data.jsonl", preferences(24))
    assert run_recipe(tuner, "orpo", data).model == f"{tuner.model}:orpo"
    assert losses(tuner, "orpo") == pytest.approx([5.8151, 5.8177, 5.7987], abs=0.005)
