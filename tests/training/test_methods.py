"""Every recipe as a job over a tiny model: three steps, their losses pinned; and one that is stopped ends the same."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from recipe_runs import RECIPES, TOKENIZERS, losses, ratings, recipe_file, run_recipe, suffix_of
from runs import Tuner
from tiny_model import conversations, write_lines

from llmos_server.errors import InvalidRequest
from llmos_server.job_contracts import JobFailed, Paused
from llmos_server.plugins.host import load_plugins
from llmos_server.registry.classifier_folders import read_classifier_spec
from llmos_server.registry.registry import Registry
from llmos_server.settings import PluginsSettings
from llmos_server.training import four_bits
from llmos_server.training.named_recipes import recipe_files
from llmos_server.training.recipe import read_recipe

KINDS = {"masked_lm": "encoder", "reward": "classifier", "sequence_classification": "classifier"}
"""Recipe -> what its result is to the registry; all others are decoders."""
NORMALISED = {"lora_target_modules": "all-linear", "report_to": []}
"""What TRL makes of [all-linear] and of none."""
STOPPED = ("grpo", "masked_lm")
"""Those whose data are drawn anew at each step: answers, hidden tokens. The others are stopped in the proofs."""
pytestmark = pytest.mark.filterwarnings("ignore")  # Of the libraries, which warn of their own versions to come.


@pytest.fixture(scope="module")
def tuner(tmp_path_factory: pytest.TempPathFactory) -> Tuner:
    torch.set_num_threads(1)
    return Tuner(tmp_path_factory.mktemp("home"))


def test_none_is_left_out() -> None:
    """Whoever adds a recipe says what its three steps come to."""
    assert {*RECIPES, *TOKENIZERS} == set(recipe_files(load_plugins(PluginsSettings())))


@pytest.mark.parametrize("name", RECIPES)
def test_three_steps(tuner: Tuner, tmp_path: Path, name: str) -> None:
    tiny = RECIPES[name]
    result = run_recipe(tuner, name, tmp_path)
    assert result.model == tiny.model.replace("{base}", tuner.model)
    assert losses(tuner, f"ftjob-{suffix_of(name)}", tiny.measure) == pytest.approx(tiny.losses, abs=tiny.tolerance)
    if not tiny.model.startswith("{base}"):
        assert Registry(tuner.home, {}, 1.0).get(result.model).kind == KINDS.get(name, "decoder")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in STOPPED else pytest.mark.proof) for name in RECIPES]
)
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tuner: Tuner, tmp_path: Path, name: str) -> None:
    """To the last bit of losses and weights."""
    whole, stopped = f"ftjob-whole-{suffix_of(name)}", f"ftjob-stopped-{suffix_of(name)}"
    values = {"max_steps": 4, "save_strategy": "steps", "save_steps": 4}
    run_recipe(tuner, name, tmp_path, job_id=whole, **values)
    with pytest.raises(Paused):
        run_recipe(tuner, name, tmp_path, job_id=stopped, stop_at=(2, Paused()), **values)
    assert len(losses(tuner, stopped)) == 2
    run_recipe(tuner, name, tmp_path, job_id=stopped, **values)
    assert losses(tuner, stopped) == losses(tuner, whole)
    assert last_weights(tuner, stopped) == last_weights(tuner, whole)


def last_weights(tuner: Tuner, job_id: str) -> bytes:
    [path] = (tuner.checkpoints(job_id) / "checkpoint-4").glob("*model.safetensors")
    return path.read_bytes()


@pytest.mark.parametrize("name", [name for name in RECIPES if recipe_file(name).read_text().startswith("# trl ")])
def test_trl_reads_the_same_of_it(tmp_path: Path, name: str) -> None:
    """By the parser of its program, which tells what it leaves over; the proofs run the program."""
    recipe = read_recipe(recipe_file(name))
    parser = importlib.import_module(f"trl.scripts.{recipe.method}").make_parser()
    flags = ["--config", str(recipe_file(name)), "--output_dir", str(tmp_path), "--use_cpu", "true"]
    *parts, left = parser.parse_args_and_config(flags, return_remaining_strings=True)
    assert left == []
    found = {key: value for part in parts for key, value in vars(part).items()}
    for key, value in recipe.values.items():
        assert found[key] == NORMALISED.get(key, value), key


def test_an_evaluation_ends_no_learning_over_four_bits(tuner: Tuner, tmp_path: Path) -> None:
    """bitsandbytes repacks what is asked without gradients, unless it is kept from it."""
    held = write_lines(tmp_path / "held.jsonl", conversations(4))
    values = {"validation": held, "eval_strategy": "steps", "eval_steps": 1}
    result = run_recipe(tuner, "sft_qlora", tmp_path, job_id="ftjob-evaluated", **values)
    assert losses(tuner, "ftjob-evaluated") == pytest.approx(RECIPES["sft_qlora"].losses, abs=0.001)
    assert result.four_bit_difference == pytest.approx(0.015, abs=0.01)


def test_what_four_bits_learned_for_themselves_is_not_served(
    tuner: Tuner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(four_bits, "FOUR_BIT_TOLERANCE", 0.001)
    with pytest.raises(JobFailed, match="Train without load_in_4bit"):
        run_recipe(tuner, "sft_qlora", tmp_path, job_id="ftjob-apart", max_steps=1)


def test_a_classifier_has_the_datas_labels(tuner: Tuner, tmp_path: Path) -> None:
    run_recipe(tuner, "sequence_classification", tmp_path, job_id="ftjob-labels", max_steps=1)
    version = Registry(tuner.home, {}, 1.0).get("tiny:sequence-classification")
    assert read_classifier_spec(Path(version.folder)).labels == ["bad", "good"]


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("grpo", {"reward_funcs": ["politeness"]}, "no plugin registers the reward 'politeness'"),
        ("grpo", {"reward_funcs": ["exact_answer"]}, "Example 1 has no 'answer'"),
        ("grpo", {"use_peft": False}, "LoRA adapters alone"),
        ("distillation", {"teacher_model_name_or_path": ""}, "Which model teaches"),
        ("causal_lm", {"tokenizer_name": ""}, "no folder with a tokenizer"),
        ("sft_qlora", {"use_dora": True}, "can't be trained, nor merged"),
        ("reward", {"load_in_4bit": True}, "can't be trained, nor merged"),
    ],
)
def test_what_cant_be_run_is_told(
    tuner: Tuner, tmp_path: Path, name: str, values: dict[str, object], told: str
) -> None:
    with pytest.raises(InvalidRequest, match=told):
        run_recipe(tuner, name, tmp_path, job_id=f"ftjob-{tmp_path.name.replace('_', '-')}", **values)  # type: ignore[arg-type]


def test_ratings_of_one_kind_are_refused(tuner: Tuner, tmp_path: Path) -> None:
    spec = tuner.spec(write_lines(tmp_path / "data.jsonl", (line | {"label": True} for line in ratings(4))), "kto")
    with pytest.raises(InvalidRequest, match="same label"):
        tuner.run("ftjob-one-kind", spec)
