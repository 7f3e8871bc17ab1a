"""Every recipe as a job over a tiny model: three steps, their losses pinned; and one that is stopped ends the same."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from recipe_runs import RECIPES, TOKENIZERS, losses, ratings, recipe_file, run_recipe, suffix_of, teach
from runs import Tuner
from sampling_server import serving
from tiny_model import conversations, write_lines

from llmos_server.errors import InvalidRequest
from llmos_server.job_contracts import Interrupted, JobFailed, Paused, ServerAddress
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
NOBODY = ServerAddress("http://127.0.0.1:9", "key")
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
    run_recipe(tuner, "sft_qlora", tmp_path, job_id="ftjob-near", max_steps=1)  # As its base is that far itself.
    monkeypatch.setattr(four_bits, "ADDED_TOLERANCE", -1.0)
    with pytest.raises(JobFailed, match="Train without load_in_4bit"):
        run_recipe(tuner, "sft_qlora", tmp_path, job_id="ftjob-apart", max_steps=1)


def test_preferences_of_all_weights_are_beside_a_copy_of_the_base(tuner: Tuner, tmp_path: Path) -> None:
    result = run_recipe(tuner, "dpo", tmp_path, job_id="ftjob-dpo-full", use_peft=False, max_steps=2)
    assert result.model == "tiny:dpo"
    assert losses(tuner, "ftjob-dpo-full") == pytest.approx([0.6931, 0.6931], abs=0.005)


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
        ("distillation_answers", {"teacher_server": "environment"}, "needs TEACHER_BASE_URL"),
        ("distillation_answers", {"teacher_num_answers": 2}, "at temperature 0 all answers are the same"),
        ("sft_qlora", {"use_dora": True}, "can't be trained, nor merged"),
        ("grpo", {"load_in_4bit": True, "use_vllm": True, "server": NOBODY}, "its base is in 4 bits"),
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


def scripted(body: dict[str, Any]) -> tuple[int, Any]:
    """Answers of four tokens and an end, which a seed and a place make."""
    choices = []
    for index in range(body["n"]):
        ids = [10 + (body["seed"] + index * 7 + place) % 300 for place in range(4)] + [1]
        logprobs = {"token_logprobs": [-5.8, -5.8, -5.8, None, -5.8]}
        choices.append({"index": index, "token_ids": ids, "logprobs": logprobs})
    return 200, {"choices": choices}


def test_the_servers_engine_samples(tuner: Tuner, tmp_path: Path) -> None:
    """By the adapter as each step leaves it, under one name."""
    with serving(scripted) as whole:
        run_recipe(tuner, "grpo", tmp_path, job_id="ftjob-engine", server=whole.address)
    [name] = {one["model"] for one in whole.asked}
    assert name.startswith(f"{tuner.model}:.ftjob-engine-")
    assert {one["path"] for one in whole.asked} == {"/v1/completions"}
    assert {one["authorization"] for one in whole.asked} == {"Bearer badge"}
    assert whole.deleted == [f"/v1/models/{name}"] * 3
    assert len({one["seed"] for one in whole.asked}) == len(whole.asked) == 3 * 2
    told = tuner.steps["ftjob-engine"]
    assert all(0.2 < told[step]["sampling/importance_sampling_ratio/mean"] < 5 for step in (1, 2, 3))
    assert tuner.adapters("ftjob-engine") == [name, f"{tuner.model}:grpo"]  # This server deletes none.


def test_a_stop_while_the_engine_samples_keeps_the_step(tuner: Tuner, tmp_path: Path) -> None:
    """What goes on from there asks what it would have asked undisturbed."""
    is_held = True

    def slow(body: dict[str, Any]) -> tuple[int, Any]:
        while is_held and len(server.asked) > 2:
            time.sleep(0.05)
        return scripted(body)

    def stop(step: int) -> None:
        nonlocal is_held
        if is_held and len(server.asked) == 4:
            is_held = False
            raise Interrupted

    options: dict[str, Any] = {"job_id": "ftjob-halved", "save_strategy": "steps", "save_steps": 3}
    with serving(slow) as server:
        with pytest.raises(Interrupted):
            run_recipe(tuner, "grpo", tmp_path, on_check=stop, server=server.address, **options)
        run_recipe(tuner, "grpo", tmp_path, server=server.address, **options)
    seeds = [one["seed"] for one in server.asked]
    assert [one["model"][-2:] for one in server.asked] == ["-1"] * 4 + ["-2"] * 4
    assert sorted(seeds[2:4]) == sorted(seeds[4:6])
    assert len(set(seeds)) == 3 * 2
    assert any("behind step 1 of 3" in text for text in tuner.messages("ftjob-halved"))


def test_a_student_is_sampled_by_the_engine_too(tuner: Tuner, tmp_path: Path) -> None:
    with serving(scripted) as server:
        run_recipe(tuner, "distillation", tmp_path, job_id="ftjob-student", server=server.address, max_steps=1)
    assert {one["n"] for one in server.asked} == {1}
    assert len(server.asked) == 8


def test_an_engine_that_refuses_ends_the_run(tuner: Tuner, tmp_path: Path) -> None:
    refusal = {"error": {"message": "logprobs can't be had here.", "code": "unsupported_parameter"}}
    with serving(lambda body: (400, refusal)) as server, pytest.raises(JobFailed, match=r"here\. With use_vllm: false"):
        run_recipe(tuner, "grpo", tmp_path, job_id="ftjob-refused", server=server.address)
    with pytest.raises(InvalidRequest, match="no server of this home runs"):
        run_recipe(tuner, "grpo", tmp_path, job_id="ftjob-alone", use_vllm=True)


def test_a_teachers_answers_are_kept_as_they_come(
    tuner: Tuner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes on asks for the others alone. What can't be learned is left out and told. The teacher is another
    server's here, by the environment."""
    busy, asked = iter([503, 429]), list[str]()
    limit = 8

    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        if (status := next(busy, 0)) or len(asked) >= limit:
            return status or 401, {"error": {"message": "Not now.", "code": None}}
        question = body["messages"][0]["content"]
        asked.append(question)
        if "David" in question:
            return 400, {"error": {"message": "Too long.", "code": "context_length_exceeded"}}
        status, told = teach(body)
        told["choices"][0]["finish_reason"] = "length" if "Ben" in question else "stop"
        return status, told

    monkeypatch.setenv("TEACHER_API_KEY", "secret")
    options: dict[str, Any] = {"job_id": "ftjob-taught", "teacher_concurrency": 1, "teacher_server": "environment"}
    with serving(answer) as server:
        monkeypatch.setenv("TEACHER_BASE_URL", f"{server.address.base_url}/v1")
        with pytest.raises(JobFailed, match="What it answered before is kept"):
            run_recipe(tuner, "distillation_answers", tmp_path, **options)
    assert {(one["path"], one["authorization"]) for one in server.asked} == {("/v1/chat/completions", "Bearer secret")}
    limit = 100
    with (tuner.checkpoints("ftjob-taught").parent / "answers.jsonl").open("ab") as kept:
        kept.write(b'{"prompt": "a line that a kill has to')
    with serving(answer) as server:
        monkeypatch.setenv("TEACHER_BASE_URL", server.address.base_url)
        run_recipe(tuner, "distillation_answers", tmp_path, **options)
    assert len(asked) == len(set(asked)) == 24
    assert len(server.asked) == 24 - 8
    [told] = [text for text in tuner.messages("ftjob-taught") if text.startswith("large gave")]
    assert told == "large gave 12 answers to 24 prompts, 90 tokens. Left out: 6 ended by length; 6 refused: Too long."
