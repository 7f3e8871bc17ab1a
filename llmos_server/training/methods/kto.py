"""Kahneman-Tversky optimisation: single answers with a thumb up or down, on TRL's KTOTrainer."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from trl import KTOConfig, KTOTrainer

from llmos_server.errors import InvalidRequest
from llmos_server.training.adapters import peft_config
from llmos_server.training.arguments import build_arguments, resolve_auto
from llmos_server.training.examples import Rows, read_ratings
from llmos_server.training.guarded import Guarded
from llmos_server.training.loop import as_dataset, load_model, tell_dropped, train
from llmos_server.training.run import Run
from llmos_server.training.served_as import is_served_as_adapter
from llmos_server.training.tokens import Rated


class GuardedKTOTrainer(Guarded, KTOTrainer):
    """TRL's, given tokens instead of texts."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset


def run(run: Run) -> None:
    """Until the job has succeeded. See training.loop.train for what it raises."""
    rows = read_ratings(run.training_file, run.rendering, run.limits())
    if len({row.is_good for row in rows.rows}) == 1:
        raise InvalidRequest(
            "Every answer has the same label, so there is nothing to tell good ones from. Add some of the other kind.",
            param="training_file",
        )
    path = run.validation_file
    held = None if path is None else read_ratings(path, run.rendering, run.limits("validation_file"))
    tell_dropped(run, rows.too_long)
    values = resolve_auto(run, rows.num_examples, 2 * rows.longest, is_full=not is_served_as_adapter(run.spec.values))
    arguments = build_arguments(KTOConfig, run, values | {"max_length": None})
    trainer = GuardedKTOTrainer(
        model=load_model(run, values),
        args=arguments,
        train_dataset=_dataset(rows, arguments.per_device_train_batch_size),
        eval_dataset=None if held is None else _dataset(held, arguments.per_device_eval_batch_size),
        processing_class=run.tokenizer,
        peft_config=peft_config(values),
    )
    train(run, trainer, values, [row.prompt_ids + row.answer_ids for row in (held or rows).rows])


def _dataset(rows: Rows[Rated], batch_size: int) -> Dataset:
    """Beside each answer stands another one of its batch, by which TRL tells how far the model has gone."""
    answers = [row.answer_ids for row in rows.rows]
    batches = [answers[at : at + batch_size] for at in range(0, len(answers), batch_size)]
    others = [answer for batch in batches for answer in [batch[-1], *batch[:-1]]]
    return as_dataset(
        {
            "prompt_ids": [row.prompt_ids for row in rows.rows],
            "completion_ids": answers,
            "KL_completion_ids": others,
            "label": [row.is_good for row in rows.rows],
        }
    )
