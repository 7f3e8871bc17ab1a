"""Odds ratio preference optimisation: answers and what is worse than them at once, on TRL's ORPOTrainer."""

from __future__ import annotations

import os
from typing import Any

from datasets import Dataset

from llmos_server.training.adapters import peft_config
from llmos_server.training.arguments import build_arguments, resolve_auto
from llmos_server.training.examples import Rows, read_preferences
from llmos_server.training.guarded import Guarded
from llmos_server.training.loop import as_dataset, load_model, tell_dropped, train
from llmos_server.training.run import Run
from llmos_server.training.served_as import is_served_as_adapter
from llmos_server.training.tokens import IGNORED, Preference

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # The recipe says that it is.
from trl.experimental.orpo import ORPOConfig, ORPOTrainer


class GuardedORPOTrainer(Guarded, ORPOTrainer):
    """TRL's, given tokens instead of texts."""

    def tokenize_row(self, feature: dict[str, Any], model: Any = None) -> dict[str, Any]:
        return {}


def run(run: Run) -> None:
    """Until the job has succeeded. See training.loop.train for what it raises."""
    limits = run.limits()
    rows = read_preferences(run.training_file, run.rendering, limits)
    path = run.validation_file
    held = None if path is None else read_preferences(path, run.rendering, run.limits("validation_file"))
    tell_dropped(run, rows.too_long)
    values = resolve_auto(run, rows.num_examples, 2 * rows.longest, is_full=not is_served_as_adapter(run.spec.values))
    trainer = GuardedORPOTrainer(
        model=load_model(run, values),
        args=build_arguments(
            ORPOConfig, run, values | {"max_length": limits.max_tokens, "remove_unused_columns": False}
        ),
        train_dataset=_dataset(rows),
        eval_dataset=None if held is None else _dataset(held),
        processing_class=run.tokenizer,
        peft_config=peft_config(values),
    )
    train(run, trainer, values, [row.prompt_ids + row.chosen_ids for row in (held or rows).rows])


def _dataset(rows: Rows[Preference]) -> Dataset:
    """What ORPOTrainer.tokenize_row makes."""
    columns: dict[str, list[list[int]]] = {"prompt_input_ids": [row.prompt_ids for row in rows.rows]}
    for name in ("chosen", "rejected"):
        answers: list[list[int]] = [getattr(row, f"{name}_ids") for row in rows.rows]
        pairs = list(zip(columns["prompt_input_ids"], answers, strict=True))
        columns[f"{name}_input_ids"] = [prompt + answer for prompt, answer in pairs]
        columns[f"{name}_labels"] = [[IGNORED] * len(prompt) + answer for prompt, answer in pairs]
    for name in ("prompt", "chosen", "rejected"):
        columns[f"{name}_attention_mask"] = [[1] * len(ids) for ids in columns[f"{name}_input_ids"]]
    return as_dataset(columns)
