"""A reward model: a number for an answer, higher for those that people chose, on TRL's RewardTrainer."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from transformers import AutoModelForSequenceClassification, set_seed
from trl import RewardConfig, RewardTrainer

from llmos_server.errors import InvalidRequest
from llmos_server.registry.trained import trained_name
from llmos_server.training.arguments import build_arguments, resolve_auto
from llmos_server.training.examples import Rows, read_preferences
from llmos_server.training.guarded import Guarded
from llmos_server.training.heads import HeadPublisher, verify_classifier
from llmos_server.training.loop import as_dataset, quiet, tell_dropped, train
from llmos_server.training.run import Run
from llmos_server.training.scratch import DEFAULT_SEED
from llmos_server.training.tokens import Preference
from llmos_server.training.verify import choose_sequences


class GuardedRewardTrainer(Guarded, RewardTrainer):
    """TRL's, given tokens instead of texts."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset


def run(run: Run) -> None:
    """Until the job has succeeded. See training.loop.train for what it raises."""
    if run.spec.values.get("use_peft"):
        raise InvalidRequest("use_peft: a reward model's head can't be served beside its base.", param="use_peft")
    quiet()
    rows = read_preferences(run.training_file, run.rendering, run.limits())
    path = run.validation_file
    held = None if path is None else read_preferences(path, run.rendering, run.limits("validation_file"))
    tell_dropped(run, rows.too_long)
    values = resolve_auto(run, rows.num_examples, 2 * rows.longest, is_full=True)
    trainer = GuardedRewardTrainer(
        model=_create_model(run, int(values.get("seed", DEFAULT_SEED))),
        args=build_arguments(RewardConfig, run, values | {"max_length": None}),
        train_dataset=_dataset(rows),
        eval_dataset=None if held is None else _dataset(held),
        processing_class=run.tokenizer,
    )
    asked = [row.prompt_ids + row.chosen_ids for row in (held or rows).rows]
    name = trained_name(run.version.name, run.suffix)
    publisher = HeadPublisher(run, trainer.model, choose_sequences(asked), name, run.base, verify_classifier)
    train(run, trainer, values, asked, publisher)


def _create_model(run: Run, seed: int) -> Any:
    """The base with a new head of one output."""
    set_seed(seed)
    return AutoModelForSequenceClassification.from_pretrained(
        run.base,
        num_labels=1,
        id2label={0: "reward"},
        label2id={"reward": 0},
        problem_type="regression",
        pad_token_id=run.tokenizer.pad_token_id,
        dtype="float32",
    )


def _dataset(rows: Rows[Preference]) -> Dataset:
    answers = {
        name: [row.prompt_ids + getattr(row, name) for row in rows.rows] for name in ("chosen_ids", "rejected_ids")
    }
    return as_dataset(answers)
