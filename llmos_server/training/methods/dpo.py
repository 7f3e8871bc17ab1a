"""Direct preference optimisation: of two answers the better one, on TRL's DPOTrainer."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from llmos_server.training.adapters import is_served_as_adapter, peft_config
from llmos_server.training.arguments import build_arguments, resolve_auto
from llmos_server.training.compact_head import add_compact_head
from llmos_server.training.examples import Rows, read_preferences
from llmos_server.training.guarded import Guarded
from llmos_server.training.loop import as_dataset, inner_model, load_model, tell_dropped, train
from llmos_server.training.run import Run
from llmos_server.training.tokens import Preference


class GuardedDPOTrainer(Guarded, DPOTrainer):
    """TRL's, given tokens instead of texts. Beside an adapter, the reference is the base without it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        add_compact_head(inner_model(self.model))
        if self.ref_model is not None:
            add_compact_head(self.ref_model)

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset


def run(run: Run) -> None:
    """Until the job has succeeded. See training.loop.train for what it raises."""
    rows = read_preferences(run.training_file, run.rendering, run.limits())
    path = run.validation_file
    held = None if path is None else read_preferences(path, run.rendering, run.limits("validation_file"))
    tell_dropped(run, rows.too_long)
    values = resolve_auto(run, rows.num_examples, 2 * rows.longest, is_full=not is_served_as_adapter(run.spec.values))
    trainer = GuardedDPOTrainer(
        model=load_model(run, values),
        args=build_arguments(DPOConfig, run, values | {"max_length": None}),
        train_dataset=_dataset(rows),
        eval_dataset=None if held is None else _dataset(held),
        processing_class=run.tokenizer,
        peft_config=peft_config(values),
    )
    train(run, trainer, values, [row.prompt_ids + row.chosen_ids for row in (held or rows).rows])


def _dataset(rows: Rows[Preference]) -> Dataset:
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    return as_dataset({name: [getattr(row, name) for row in rows.rows] for name in names})
