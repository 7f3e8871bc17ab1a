"""Recipes as files, what may override them, and errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmos_server.errors import InvalidRequest
from llmos_server.training import four_bit_keys
from llmos_server.training.recipe import override, parse_recipe, read_recipe

SFT = "# trl sft --config sft.yaml\nlearning_rate: 2e-4\nuse_peft: true\nlora_target_modules: all-linear\n"


def test_the_method_is_the_launch_commands() -> None:
    assert parse_recipe("# LoRA\n# trl dpo --config x.yaml\n").method == "dpo"
    assert parse_recipe("# llmos tune x.yaml --method dpo\nbeta: 0.1").values == {"beta": 0.1}


def test_values_have_the_types_that_trl_gives_them() -> None:
    """YAML 1.1 reads 2e-4 as text; TRL's parser doesn't mind, and neither do we."""
    recipe = parse_recipe(SFT + "max_steps: 3.0\nseed: '7'\neval_steps: null\nsave_strategy: no\n")
    assert recipe.values == {
        "learning_rate": 2e-4,
        "use_peft": True,
        "lora_target_modules": ["all-linear"],
        "max_steps": 3,
        "seed": 7,
        "eval_steps": None,
        "save_strategy": "no",
    }
    assert type(recipe.values["max_steps"]) is int


@pytest.mark.parametrize(
    ("line", "param", "told"),
    [
        ("learning_rat: 1", "learning_rat", "Did you mean 'learning_rate'"),
        ("max_steps: many", "max_steps", "'many' is no int"),
        ("max_steps: 2.5", "max_steps", "no int"),
        ("packing: 3", "packing", "no bool"),
        ("push_to_hub: true", "push_to_hub", "hf upload"),
        ("report_to: wandb", "report_to", "tensorboard or trackio"),
        ("beta: 0.1", "beta", "no key that sft takes"),
        ("seed: null", "seed", "no int"),
    ],
)
def test_an_error_names_the_key(line: str, param: str, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told) as caught:
        parse_recipe(SFT + line)
    assert caught.value.param == param


@pytest.mark.parametrize("line", ["push_to_hub: false", "report_to: none", "report_to: [tensorboard]", "fsdp: ''"])
def test_what_asks_for_nothing_is_not_refused(line: str) -> None:
    parse_recipe(SFT + line)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("learning_rate: 1e-4", "no launch command"),
        ("learning_rate: 1e-4\n# trl sft", "no launch command"),
        ("# trl fly", "no method 'fly'"),
        ("# trl sft\n- a", "no flat mapping"),
        ("# trl sft\na: [", "no YAML"),
    ],
)
def test_what_is_no_recipe_is_told(text: str, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        parse_recipe(text)


def test_set_overrides_and_leaves_to_the_run() -> None:
    recipe = override(
        parse_recipe(SFT), ["learning-rate=auto", "max_steps = 3", "lora_target_modules=[q_proj, v_proj]"]
    )
    assert recipe.auto == {"learning_rate"}
    assert recipe.values == {"use_peft": True, "lora_target_modules": ["q_proj", "v_proj"], "max_steps": 3}
    assert override(recipe, ["learning_rate=1e-3"]).auto == set()


@pytest.mark.parametrize(
    ("setting", "param"), [("max_steps", "max_steps"), ("max_steps=auto", "max_steps"), ("=3", None)]
)
def test_a_setting_that_cant_be_used_is_told(setting: str, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        override(parse_recipe(SFT), [setting])
    assert caught.value.param == param


def test_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"none\.yaml: can't be read"):
        read_recipe(tmp_path / "none.yaml")
    path = tmp_path / "bad.yaml"
    path.write_text(SFT + "seed: x")
    with pytest.raises(InvalidRequest, match=r"bad\.yaml: seed: 'x'") as caught:
        read_recipe(path)
    assert caught.value.param == "seed"
    path.write_text(SFT)
    assert read_recipe(path).method == "sft"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"use_peft": False}, "Train LoRA over them"),
        ({"use_peft": True, "use_dora": True}, "without use_dora"),
        ({"use_peft": True, "dtype": "auto"}, "float32 or bfloat16"),
        ({"use_peft": True}, r"pip install 'llmos\[qlora\]'"),
    ],
)
def test_four_bits_that_cant_be_had_are_told(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, object], told: str
) -> None:
    monkeypatch.setattr(four_bit_keys, "find_spec", lambda name: None)
    four_bit_keys.require_four_bits(values)
    with pytest.raises(InvalidRequest, match=told):
        four_bit_keys.require_four_bits(values | {"load_in_4bit": True})
