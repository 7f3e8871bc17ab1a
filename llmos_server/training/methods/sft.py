"""Supervised fine-tuning: what the assistant should have said, on TRL's SFTTrainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from llmos_server.errors import InvalidRequest
from llmos_server.training.adapters import is_served_as_adapter, peft_config
from llmos_server.training.arguments import build_arguments, resolve_auto
from llmos_server.training.compact_head import add_compact_head
from llmos_server.training.examples import Rows, read_conversations
from llmos_server.training.guarded import Guarded
from llmos_server.training.loop import as_dataset, inner_model, load_model, tell_dropped, train
from llmos_server.training.run import Run
from llmos_server.training.tokens import Tokens


class GuardedSFTTrainer(Guarded, SFTTrainer):
    """TRL's, with the head where something is learned alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        add_compact_head(inner_model(self.model))


def run(run: Run) -> None:
    """Until the job has succeeded. See training.loop.train for what it raises."""
    if run.spec.values.get("dataset_text_field"):
        from llmos_server.training.methods import texts

        texts.run(run)
        return
    _check(run.spec.values)
    rows = read_conversations(run.training_file, run.rendering, run.limits())
    path = run.validation_file
    held = None if path is None else read_conversations(path, run.rendering, run.limits("validation_file"))
    tell_dropped(run, rows.too_long)
    values = resolve_auto(run, rows.num_examples, rows.longest, is_full=not is_served_as_adapter(run.spec.values))
    trainer = GuardedSFTTrainer(
        model=load_model(run, values),
        args=build_arguments(SFTConfig, run, _as_tokenised(values)),
        train_dataset=_dataset(rows),
        eval_dataset=None if held is None else _dataset(held),
        processing_class=run.tokenizer,
        peft_config=peft_config(values),
    )
    train(run, trainer, values, [row.input_ids for row in (held or rows).rows])


def _dataset(rows: Rows[Tokens]) -> Dataset:
    return as_dataset({"input_ids": [row.input_ids for row in rows.rows], "labels": [row.labels for row in rows.rows]})


def _check(values: Mapping[str, Any]) -> None:
    """Answers are learned, all of a chat's that don't say otherwise, with and without the keys that ask for it."""
    if values.get("completion_only_loss") is False:
        raise InvalidRequest(
            "completion_only_loss: false would train the model to write what its users write. Leave it out.",
            param="completion_only_loss",
        )
    if values.get("packing") and values.get("packing_strategy") == "wrapped":
        raise InvalidRequest("packing_strategy: wrapped would cut examples. Take bfd.", param="packing_strategy")


def _as_tokenised(values: Mapping[str, Any]) -> dict[str, Any]:
    """The labels are ours already: what TRL would do to chats doesn't apply."""
    done: dict[str, Any] = {"completion_only_loss": False, "assistant_only_loss": False}
    if not values.get("packing"):
        done["max_length"] = None  # No row is longer.
    return {**values, **done}
