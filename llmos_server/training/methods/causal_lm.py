"""A causal language model from a config and a corpus."""

from __future__ import annotations

from transformers import AutoModelForCausalLM

from llmos_server.training.arguments import resolve_auto
from llmos_server.training.loop import quiet, train
from llmos_server.training.merged import ModelPublisher
from llmos_server.training.methods.texts import create_trainer, read_rows
from llmos_server.training.run import Run
from llmos_server.training.scratch import Scratch
from llmos_server.training.verify import choose_sequences


def run(run: Run) -> None:
    """Until the job has succeeded. See training.loop.train for what it raises."""
    quiet()
    scratch = Scratch(run, AutoModelForCausalLM)
    rows, held = read_rows(run, scratch.rendering, scratch.length)
    values = resolve_auto(run, len(rows), scratch.length, is_full=True)
    trainer = create_trainer(run, scratch.create_model(), values, rows, held, scratch.tokenizer)
    sequences = choose_sequences(held or rows)
    publisher = ModelPublisher(run, trainer.model, sequences, name=scratch.name, files=scratch.folder)
    train(run, trainer, values, held or rows, publisher)
