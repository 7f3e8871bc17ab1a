"""`trl` itself runs every recipe that says so, three steps over a tiny model, by the command on top of the file."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("training", ".")]

from recipe_runs import prompts, ratings, recipe_file, texts
from tiny_model import conversations, preferences, save_model, write_lines

from llmos_server.plugins.host import load_plugins
from llmos_server.settings import PluginsSettings
from llmos_server.training.named_recipes import recipe_files

pytestmark = pytest.mark.proof


def pairs(num: int) -> Iterator[dict[str, object]]:
    """As TRL writes preferences."""
    for line in preferences(num):
        asked, chosen, rejected = line["input"], line["preferred_output"], line["non_preferred_output"]
        yield {"prompt": asked["messages"], "chosen": chosen, "rejected": rejected}  # type: ignore[index]


def questions(num: int) -> Iterator[dict[str, object]]:
    """With what every reward of the recipes reads."""
    return (line | {"answer": "yes"} for line in prompts(num))


LINES: dict[str, Callable[[int], Iterator[dict[str, object]]]] = {
    "sft": conversations,
    "dpo": pairs,
    "reward": pairs,
    "kto": ratings,
    "grpo": questions,
    "distillation": questions,
}
"""By method, in the format that the recipe's comment tells for `trl`."""
THREE_STEPS = {
    "max_steps": 3,
    "logging_steps": 1,
    "save_strategy": "steps",
    "save_steps": 3,
    "use_cpu": True,
    "per_device_train_batch_size": 4,
}


def launch_command(path: Path) -> list[str]:
    """The first comment, up to the one of LLMOS. [] where the file is not for `trl`."""
    words = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# llmos "):
            break
        words += line.lstrip("#")
    return shlex.split(words)


COMMANDS = {name: launch_command(path) for name, path in recipe_files(load_plugins(PluginsSettings())).items()}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command])
def test_three_steps(name: str, model: Path, tmp_path: Path) -> None:
    program, method, *rest = COMMANDS[name]
    lines = texts if name.startswith("pretrain") else LINES[method]
    (tmp_path / "data").mkdir()
    write_lines(tmp_path / "data" / "train.jsonl", lines(24))
    places = {"MODEL": str(model), "TEACHER": str(model), "DATA": str(tmp_path / "data")}
    values = THREE_STEPS | {"output_dir": tmp_path / "out"}
    if method in ("grpo", "distillation"):
        values["max_completion_length"] = 8
    flags = [*(places.get(word, word) for word in rest), *(f"--{key}={value}" for key, value in values.items())]
    command = [str(Path(sys.executable).with_name(program)), method, *flags]
    done = subprocess.run(
        command, cwd=recipe_file(name).parent, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    state = json.loads((tmp_path / "out" / "checkpoint-3" / "trainer_state.json").read_text())
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert len(losses) == 3
    assert all(map(math.isfinite, losses))
