"""A trainer of TRL, driven as a job: resumed, reported, checkpointed, and its end verified and registered."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import transformers
from peft import PeftModel
from transformers import AutoModelForCausalLM, PrinterCallback
from trl import get_quantization_config

from llmos_server.training.adapters import is_served_as_adapter, model_arguments
from llmos_server.training.checkpoints import step_of
from llmos_server.training.four_bits import keep_trainable
from llmos_server.training.measuring import tell_needs
from llmos_server.training.merged import ModelPublisher
from llmos_server.training.publishing import AdapterPublisher, Follower, Publisher
from llmos_server.training.ranks import is_first
from llmos_server.training.reporting import Reporter
from llmos_server.training.run import Run
from llmos_server.training.verify import choose_sequences


def load_model(run: Run, values: Mapping[str, Any]) -> Any:
    """The base, as the recipe's keys have it."""
    arguments = model_arguments(values)
    quiet()
    attention = arguments.attn_implementation or "sdpa"
    model = AutoModelForCausalLM.from_pretrained(
        run.base,
        dtype=arguments.dtype,
        attn_implementation=attention,
        quantization_config=get_quantization_config(arguments),
    )
    keep_trainable(model)
    return model


def quiet() -> None:
    """The libraries' own bars and banners: a job has events for that."""
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    logging.getLogger("trl").setLevel(logging.ERROR)


def inner_model(model: Any) -> Any:
    """Without PEFT's shell."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def tell_dropped(run: Run, lines: Sequence[int]) -> None:
    if lines:
        named = ", ".join(map(str, lines[:20]))
        run.context.log(
            f"{len(lines)} examples are longer than max_length and were left out: lines {named} ...", "warn"
        )


def as_dataset(columns: Mapping[str, Sequence[Any]]) -> datasets.Dataset:
    """In memory."""
    return datasets.Dataset.from_dict({name: list(column) for name, column in columns.items()})


def train(
    run: Run,
    trainer: Any,
    values: Mapping[str, Any],
    rows: Sequence[Sequence[int]],
    publisher: Publisher | None = None,
) -> None:
    """Until the job has succeeded. trainer: a Guarded one. rows: token ids of examples that its result is verified by;
    of the validation file where there is one. publisher: of what is neither an adapter nor a base with other weights.

    Raises JobStopped when it is to end earlier, JobFailed for a run that can't come to an end.
    """
    tell_needs(run, trainer)
    trainer.guard(run.output, run.context.job.epoch, values.get("save_total_limit"), run.context.write)
    if not is_first():
        publisher = Follower()
    publisher = publisher or create_publisher(run, trainer.model, values, choose_sequences(rows))

    def on_checkpoint(folder: Path, step: int) -> None:
        publisher.on_checkpoint(folder, step, run.results.latest)

    trainer.remove_callback(PrinterCallback)

    def on_resume(folder: Path, step: int) -> None:
        publisher.on_resume(folder, step, run.results.latest)

    trainer.add_callback(Reporter(run, run.output, on_checkpoint, on_resume))
    last = trainer.last_checkpoint()
    trainer.train(resume_from_checkpoint=last)
    if last is None or step_of(Path(last)) < trainer.state.global_step:
        last = trainer.last_checkpoint()
    if last is None or step_of(Path(last)) < trainer.state.global_step:
        trainer.save_checkpoint()
        last = trainer.last_checkpoint()
    publisher.finish(Path(last))


def create_publisher(run: Run, model: Any, values: Mapping[str, Any], sequences: list[list[int]]) -> Publisher:
    if is_served_as_adapter(values) and isinstance(model, PeftModel):
        return AdapterPublisher(run, model, sequences)
    return ModelPublisher(run, model, sequences)
