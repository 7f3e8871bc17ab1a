"""A masked language model from a config and a corpus: an encoder, which a head can then be put on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForMaskedLM, DataCollatorForLanguageModeling, Trainer, TrainingArguments

from llmos_server.contracts import ModelVersion
from llmos_server.errors import InvalidRequest
from llmos_server.job_contracts import JobFailed
from llmos_server.models.encoder import load_text_encoder
from llmos_server.registry.encoder_folders import read_spec
from llmos_server.training.arguments import build_arguments, resolve_auto
from llmos_server.training.guarded import Guarded
from llmos_server.training.heads import HeadPublisher
from llmos_server.training.loop import as_dataset, quiet, train
from llmos_server.training.methods.texts import read_rows
from llmos_server.training.run import Run
from llmos_server.training.scratch import Scratch
from llmos_server.training.verify import EXACT_TOLERANCE, choose_sequences


class GuardedTrainer(Guarded, Trainer):
    """Transformers' own."""


def run(run: Run) -> None:
    """Until the job has succeeded. See training.loop.train for what it raises."""
    quiet()
    scratch = Scratch(run, AutoModelForMaskedLM)
    if scratch.tokenizer.mask_token_id is None:
        raise InvalidRequest(
            "The tokenizer has no mask token. Make one with tokenizer_unigram.yaml, which has <mask>.",
            param="tokenizer_name",
        )
    rows, held = read_rows(run, scratch.rendering, scratch.length)
    values = resolve_auto(run, len(rows), scratch.length, is_full=True)
    share = float(values.get("mlm_probability", 0.15))
    trainer = GuardedTrainer(
        model=scratch.create_model(),
        args=build_arguments(TrainingArguments, run, values),
        train_dataset=_dataset(rows),
        eval_dataset=None if held is None else _dataset(held),
        data_collator=DataCollatorForLanguageModeling(scratch.tokenizer, mlm_probability=share),
        processing_class=scratch.tokenizer,
    )
    sequences = choose_sequences(held or rows)
    publisher = HeadPublisher(run, trainer.model, sequences, scratch.name, scratch.folder, verify_encoder)
    train(run, trainer, values, held or rows, publisher)


def verify_encoder(model: Any, version: ModelVersion, sequences: Sequence[list[int]]) -> str:
    """Its vectors, as the server makes them and as the trainer's model has them. Raises JobFailed."""
    folder = Path(version.folder)
    encoder = load_text_encoder(folder, version.weights, read_spec(folder), "cpu")
    worst = 0.0
    for ids in sequences:
        with torch.no_grad():
            hidden = model.base_model(input_ids=torch.tensor([ids], device=model.device))[0][0]
        mean = torch.nn.functional.normalize(hidden.float().mean(0), dim=0).cpu()
        worst = max(worst, float((encoder.embed([ids])[0] - mean).abs().max()))
    if not worst <= EXACT_TOLERANCE:
        raise JobFailed(
            f"The server computes other vectors than were trained, by {worst:.2g}.", code="verification_failed"
        )
    return f"The server computes what was trained: vectors differ by {worst:.1e} at most."


def _dataset(rows: Sequence[list[int]]) -> Dataset:
    return as_dataset({"input_ids": rows})
