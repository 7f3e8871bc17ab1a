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
from llmos_server.registry.classifier_folders import read_classifier_spec
from llmos_server.registry.registry import Registry
from llmos_server.training.recipe import override, read_recipe
from llmos_server.training.spec import TuneResult, TuneSpec

RAW = [5.6655, 5.66, 5.6488]
CAUSAL = [5.8251, 5.8366, 5.1279]
MASKED = [5.6935, 5.7, 5.6]
REWARD = [0.6734, 0.69, 0.6714]
CLASSES = [0.7337, 0.7057, 0.69]
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


def run_recipe(
    tuner: Tuner, name: str, data: Path, suffix: str = "", model: str | None = None, **others: Any
) -> TuneResult:
    """Three steps of it."""
    path = find_recipe(name)
    assert path
    steps = {} if name.startswith("tokenizer") else {"max_steps": 3, "logging_steps": 1, "save_strategy": "no"}
    settings = steps | others
    recipe = override(read_recipe(path), [f"{key}={json.dumps(value)}" for key, value in settings.items()])
    spec = TuneSpec(
        method=recipe.method,
        model=tuner.model if model is None else model,
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


SENTENCE = "the cat sat on a mat while 27 dogs ran over hills and looked for bones in old gardens"
WORDS = SENTENCE.split()


def save_texts(path: Path) -> Path:
    """A text a line."""
    texts = (" ".join(WORDS[(number * 7 + at * 5) % len(WORDS)] for at in range(30)) for number in range(60))
    path.write_text("\n".join(texts))
    return path


def prompts(num: int) -> Iterator[dict[str, object]]:
    for line in conversations(num):
        yield {"messages": line["messages"][:1], "max_words": 2}  # type: ignore[index]


def test_raw_text(tuner: Tuner, tmp_path: Path) -> None:
    """Rows of 64 tokens, full but for the last."""
    result = run_recipe(tuner, "pretrain_continued", save_texts(tmp_path / "corpus.txt"), max_length=64)
    assert result.model == "tiny:pretrain-continued"
    assert losses(tuner, "pretrain_continued") == pytest.approx(RAW, abs=0.01)


def test_a_model_of_a_corpus_alone(tuner: Tuner, tmp_path: Path) -> None:
    corpus = save_texts(tmp_path / "corpus.txt")
    tokenizer = run_recipe(tuner, "tokenizer_bpe", corpus, model="", vocab_size=400).model
    result = run_recipe(tuner, "causal_lm", corpus, model="", tokenizer_name=tokenizer, max_length=64)
    assert result.model == "llama:causal-lm"
    assert Registry(tuner.home, {}, 1.0).get(result.model).kind == "decoder"
    assert losses(tuner, "causal_lm") == pytest.approx(CAUSAL, abs=0.05)
    with pytest.raises(InvalidRequest, match="no folder with a tokenizer"):
        run_recipe(tuner, "causal_lm", corpus, "no-tokenizer", model="")


def test_an_encoder_of_a_corpus_alone(tuner: Tuner, tmp_path: Path) -> None:
    corpus = save_texts(tmp_path / "corpus.txt")
    tokenizer = run_recipe(tuner, "tokenizer_unigram", corpus, model="", vocab_size=400).model
    small = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    values = {"tokenizer_name": tokenizer, "max_length": 64, "config_overrides": small}
    result = run_recipe(tuner, "masked_lm", corpus, model="", **values)
    assert Registry(tuner.home, {}, 1.0).get(result.model).kind == "encoder"
    assert losses(tuner, "masked_lm") == pytest.approx(MASKED, abs=0.05)


def test_rewards_of_plugins(tuner: Tuner, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "data.jsonl", prompts(24))
    values = {"reward_funcs": ["brevity"], "max_completion_length": 8}
    assert run_recipe(tuner, "grpo", data, **values).model == f"{tuner.model}:grpo"
    graded = [told["reward"] for _, told in sorted(tuner.steps["ftjob-grpo"].items()) if "reward" in told]
    assert all(0 < grade <= 1 for grade in graded)
    assert len(graded) == 3
    for wrong, told in (
        ({"reward_funcs": ["politeness"]}, "no plugin registers the reward 'politeness'"),
        ({"reward_funcs": ["exact_answer"]}, "Example 1 has no 'answer'"),
        (values | {"use_peft": False}, "LoRA adapters alone"),
    ):
        with pytest.raises(InvalidRequest, match=told):
            run_recipe(tuner, "grpo", data, f"wrong-{len(told)}", **({"max_completion_length": 8} | wrong))


def test_a_teacher(tuner: Tuner, tmp_path: Path) -> None:
    """The base teaches itself: there is nothing to learn."""
    data = write_lines(tmp_path / "data.jsonl", prompts(24))
    values = {"teacher_model_name_or_path": tuner.model, "max_completion_length": 8}
    assert run_recipe(tuner, "distillation", data, **values).model == f"{tuner.model}:distillation"
    assert losses(tuner, "distillation") == pytest.approx([0.0, 0.0, 0.0], abs=1e-4)
    with pytest.raises(InvalidRequest, match="Which model teaches"):
        run_recipe(tuner, "distillation", data, "no-teacher", max_completion_length=8)


def test_a_reward_model(tuner: Tuner, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "data.jsonl", preferences(24))
    assert run_recipe(tuner, "reward", data).model == "tiny:reward"
    assert Registry(tuner.home, {}, 1.0).get("tiny:reward").kind == "classifier"
    assert losses(tuner, "reward") == pytest.approx(REWARD, abs=0.01)


def test_a_classifier(tuner: Tuner, tmp_path: Path) -> None:
    lines = ({"text": f"{label} {number}", "label": label} for number in range(16) for label in ("good", "bad"))
    data = write_lines(tmp_path / "data.jsonl", lines)
    assert run_recipe(tuner, "sequence_classification", data).model == "tiny:sequence-classification"
    version = Registry(tuner.home, {}, 1.0).get("tiny:sequence-classification")
    assert read_classifier_spec(Path(version.folder)).labels == ["bad", "good"]
    assert losses(tuner, "sequence_classification") == pytest.approx(CLASSES, abs=0.01)


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
