"""Raw text, every token of which is learned: continued pre-training, and causal models from a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import SFTConfig

from llmos_server.training.adapters import peft_config
from llmos_server.training.arguments import build_arguments, resolve_auto
from llmos_server.training.examples import Limits, read_texts
from llmos_server.training.loop import as_dataset, load_model, train
from llmos_server.training.methods.sft import GuardedSFTTrainer
from llmos_server.training.packing import pack
from llmos_server.training.run import Run
from llmos_server.training.served_as import is_served_as_adapter
from llmos_server.training.tokens import Rendering

WHOLE = 2**31
"""Texts may be longer than a row: they go on in the next one."""


def run(run: Run) -> None:
    """The base reads on. See training.loop.train for what it raises."""
    length = run.limits().max_tokens
    rows, held = read_rows(run, run.rendering, length)
    values = resolve_auto(run, len(rows), length, is_full=not is_served_as_adapter(run.spec.values))
    trainer = create_trainer(run, load_model(run, values), values, rows, held, run.tokenizer)
    train(run, trainer, values, held or rows)


def read_rows(run: Run, rendering: Rendering, length: int) -> tuple[list[list[int]], list[list[int]] | None]:
    """Of the training file, and of the validation file where there is one. Raises InvalidRequest."""

    def read(path: Path, limits: Limits) -> list[list[int]]:
        found = read_texts(path, rendering, replace(limits, max_tokens=WHOLE))
        return pack((row.input_ids for row in found.rows), length)

    held = run.validation_file
    rows = read(run.training_file, Limits(length))
    return rows, None if held is None else read(held, Limits(length, param="validation_file"))


def create_trainer(
    run: Run,
    model: Any,
    values: Mapping[str, Any],
    rows: Sequence[list[int]],
    held: Sequence[list[int]] | None,
    tokenizer: Any,
) -> GuardedSFTTrainer:
    done = {"completion_only_loss": False, "assistant_only_loss": False, "packing": False, "max_length": None}
    return GuardedSFTTrainer(
        model=model,
        args=build_arguments(SFTConfig, run, {**values, **done}),
        train_dataset=_dataset(rows),
        eval_dataset=None if held is None else _dataset(held),
        processing_class=tokenizer,
        peft_config=peft_config(values),
    )


def _dataset(rows: Sequence[list[int]]) -> Dataset:
    return as_dataset({"input_ids": rows, "labels": rows})
