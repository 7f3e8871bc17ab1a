"""Every recipe over the tiny model: what it is given so that its steps take a second, and what comes of three of them.

A plain module: conftest.py puts this folder on sys.path.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from llmos_recipes import find_recipe
from runs import NO_SERVER, Tuner
from sampling_server import Answer, serving
from tiny_model import conversations, preferences, write_lines

from llmos_server.job_contracts import JobStopped, ServerAddress
from llmos_server.plugins.host import load_plugins
from llmos_server.settings import PluginsSettings
from llmos_server.training.named_recipes import recipe_files
from llmos_server.training.recipe import override, read_recipe
from llmos_server.training.spec import TuneResult, TuneSpec

SENTENCE = "the cat sat on a mat while 27 dogs ran over hills and looked for bones in old gardens"
WORDS = SENTENCE.split()
SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}


def ratings(num: int) -> Iterator[dict[str, object]]:
    """Every second one is a bad answer."""
    for number, line in enumerate(conversations(num)):
        asked, answer = line["messages"]  # type: ignore[misc]
        is_good = number % 2 == 1
        given = answer if is_good else {"role": "assistant", "content": "I can't tell."}
        yield {"prompt": [asked], "completion": [given], "label": is_good}


def prompts(num: int) -> Iterator[dict[str, object]]:
    """With what the built-in rewards read."""
    for line in conversations(num):
        asked = line["messages"][:1]  # type: ignore[index]
        yield {"prompt": asked, "pattern": ".{0,8}", "schema": {"type": "object"}}


def labels(num: int) -> Iterator[dict[str, object]]:
    return ({"text": f"{label} {number}", "label": label} for number in range(num) for label in ("good", "bad"))


def texts(num: int) -> Iterator[dict[str, object]]:
    for number in range(num):
        yield {"text": " ".join(WORDS[(number * 7 + at * 5) % len(WORDS)] for at in range(30))}


def teach(body: dict[str, Any]) -> tuple[int, Any]:
    """A teacher that repeats the question in capitals."""
    message = {"role": "assistant", "content": body["messages"][-1]["content"].upper(), "refusal": None}
    return 200, {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"completion_tokens": 5}}


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """How a recipe runs here."""

    lines: Callable[[int], Iterator[dict[str, object]]]
    num: int = 24
    values: dict[str, Any] = field(default_factory=dict)
    """Over the recipe's."""
    model: str
    """Its result's name; {base} is the tiny model's."""
    tokenizer: str = ""
    """The recipe of the tokenizer that it begins from, instead of a model."""
    losses: list[float]
    tolerance: float = 0.005
    measure: str = "train_loss"
    """What `losses` are, where those are 0 by their nature."""
    answer: Answer | None = None
    """Of the server that it asks."""


RECIPES: dict[str, Tiny] = {
    "sft_lora": Tiny(lines=conversations, model="{base}:sft-lora", losses=[5.7571, 5.7472, 5.7044]),
    "sft_qlora": Tiny(lines=conversations, model="{base}:sft-qlora", losses=[5.7583, 5.751, 5.7095]),
    "sft_dora": Tiny(lines=conversations, model="tiny:sft-dora", losses=[5.7571, 5.7472, 5.7103]),
    "sft_full": Tiny(lines=conversations, model="tiny:sft-full", losses=[5.7571, 5.7472, 5.7119]),
    "dpo": Tiny(lines=preferences, values={"learning_rate": 1e-2}, model="{base}:dpo", losses=[0.6931, 0.6931, 0.4819]),
    "kto": Tiny(lines=ratings, values={"learning_rate": 1e-2}, model="{base}:kto", losses=[0.5, 0.5, 0.4376]),
    "orpo": Tiny(lines=preferences, model="{base}:orpo", losses=[5.8151, 5.8177, 5.7987]),
    "grpo": Tiny(
        lines=prompts,
        values={"reward_funcs": ["pattern"], "max_completion_length": 8, "learning_rate": 1e-2},
        model="{base}:grpo",
        losses=[0.4375, 0.375, 0.5],
        measure="reward",
    ),
    "rewards:json_answers": Tiny(
        lines=prompts, values={"max_completion_length": 8}, model="{base}:rewards-json-answers", losses=[0.0] * 3
    ),
    "distillation": Tiny(
        lines=prompts,
        values={"teacher_model_name_or_path": "{base}", "max_completion_length": 8},  # It knows all that it teaches.
        model="{base}:distillation",
        losses=[0.0, 0.0, 0.0],
        tolerance=1e-4,
    ),
    "distillation_answers": Tiny(
        lines=prompts,
        values={"teacher_model_name_or_path": "large"},
        model="{base}:distillation-answers",
        losses=[5.7416, 5.7361, 5.7182],
        answer=teach,
    ),
    "reward": Tiny(lines=preferences, model="tiny:reward", losses=[0.6734, 0.69, 0.6714], tolerance=0.01),
    "sequence_classification": Tiny(
        lines=labels, num=16, model="tiny:sequence-classification", losses=[0.7337, 0.7057, 0.69], tolerance=0.01
    ),
    "pretrain_continued": Tiny(
        lines=texts,
        num=60,
        values={"max_length": 64},
        model="tiny:pretrain-continued",
        losses=[5.6655, 5.66, 5.6488],
        tolerance=0.01,
    ),
    "causal_lm": Tiny(
        lines=texts,
        num=60,
        values={"max_length": 64},
        model="llama:causal-lm",
        tokenizer="tokenizer_bpe",
        losses=[5.8251, 5.8366, 5.1279],
        tolerance=0.05,
    ),
    "masked_lm": Tiny(
        lines=texts,
        num=60,
        values={"max_length": 64, "config_overrides": SMALL},
        model="bert:masked-lm",
        tokenizer="tokenizer_unigram",
        losses=[5.6935, 5.7, 5.6],
        tolerance=0.05,
    ),
}
TOKENIZERS = ("tokenizer_bpe", "tokenizer_unigram")
THREE_STEPS: dict[str, Any] = {"max_steps": 3, "logging_steps": 1, "save_strategy": "no"}


def suffix_of(name: str) -> str:
    return name.replace("_", "-").replace(":", "-")


def recipe_file(name: str) -> Path:
    """One of a plugin too."""
    found = find_recipe(name) or recipe_files(load_plugins(PluginsSettings(enabled=("rewards",))))[name]
    assert found
    return found


def run_recipe(
    tuner: Tuner,
    name: str,
    folder: Path,
    *,
    job_id: str = "",
    stop_at: tuple[int, JobStopped] | None = None,
    validation: Path | None = None,
    server: ServerAddress = NO_SERVER,
    on_check: Callable[[int], None] = lambda step: None,
    **others: Any,
) -> TuneResult:
    """others: keys over those of RECIPES and THREE_STEPS. Raises what the run raises."""
    tiny = RECIPES[name]
    data = write_lines(folder / f"{suffix_of(name)}.jsonl", tiny.lines(tiny.num))
    given = THREE_STEPS | tiny.values | others
    if tiny.tokenizer and "tokenizer_name" not in given:
        given["tokenizer_name"] = make_tokenizer(tuner, tiny.tokenizer, data)
    settings = [f"{key}={json.dumps(value)}".replace("{base}", tuner.model) for key, value in given.items()]
    recipe = override(read_recipe(recipe_file(name)), settings)
    spec = TuneSpec(
        method=recipe.method,
        model="" if tiny.tokenizer else tuner.model,
        values=recipe.values,
        training_file=str(data),
        validation_file="" if validation is None else str(validation),
        suffix=suffix_of(name),
    )
    with serving(tiny.answer) if tiny.answer and server is NO_SERVER else nullcontext() as own:
        at = own.address if own else server
        job = tuner.run(job_id or f"ftjob-{suffix_of(name)}", spec, stop_at, on_check, server=at)
    assert job.result is not None
    return msgspec.json.decode(job.result, type=TuneResult)


def make_tokenizer(tuner: Tuner, name: str, corpus: Path) -> str:
    """Its folder."""
    folder = tuner.home / "tokenizers" / suffix_of(name)
    if not folder.is_dir():
        recipe = override(read_recipe(recipe_file(name)), ["vocab_size=400"])
        spec = TuneSpec(
            method=recipe.method, model="", values=recipe.values, training_file=str(corpus), suffix=suffix_of(name)
        )
        job = tuner.run(f"ftjob-{suffix_of(name)}", spec)
        assert job.status == "succeeded"
    return str(folder)


def losses(tuner: Tuner, job_id: str, measure: str = "train_loss") -> list[float]:
    return [told[measure] for _, told in sorted(tuner.steps[job_id].items()) if measure in told]
