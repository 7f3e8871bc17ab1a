"""The recipes that LLMOS brings: found by name, read by us, short, and with the command that launches them on top."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from accelerate.commands.config import load_config_from_file
from llmos_recipes import FOLDER, find_recipe, recipe_names

from llmos_server.training.recipe import read_recipe


def test_a_recipe_is_found_by_its_name() -> None:
    assert find_recipe("sft_lora") == find_recipe("sft_lora.yaml")
    assert find_recipe("sft_lorry") is None
    assert find_recipe("../llmos_recipes/sft_lora") is None


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_begins_with_the_command_that_launches_it(name: str) -> None:
    path = find_recipe(name)
    assert path
    lines = path.read_text(encoding="utf-8").splitlines()
    first = shlex.split(lines[0].removeprefix("# "))
    recipe = read_recipe(path)
    if first[0] == "trl":
        assert first[:4] == ["trl", recipe.method, "--config", f"{name}.yaml"]
    else:
        assert first[:5] == ["llmos", "tune", f"{name}.yaml", "--method", recipe.method]
    assert any(line.startswith(f"# llmos tune {name}.yaml ") for line in lines)
    assert max(map(len, lines)) <= 120
    assert len(lines) <= 60


@pytest.mark.parametrize("name", recipe_names())
def test_values_are_those_of_small_data_on_one_machine(name: str) -> None:
    path = find_recipe(name)
    assert path
    values = read_recipe(path).values
    if "learning_rate" not in values:
        pytest.skip("trains no weights")
    assert values["seed"] == 42
    assert values["bf16"] is False
    assert values["report_to"] == "none"
    if values.get("use_peft"):
        assert values["lora_alpha"] == 2 * values["lora_r"]


@pytest.mark.parametrize("path", sorted((FOLDER / "accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_its_files_and_each_says_whether_it_ran(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert f"--accelerate_config accelerate/{path.name}" in lines[0]
    assert lines[1].startswith(("# Ran here", "# Never ran here"))
    assert max(map(len, lines)) <= 120
    config = load_config_from_file(str(path))
    assert config.num_processes >= 2
