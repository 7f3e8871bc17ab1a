"""A classifier: an encoder or a decoder with a head that sorts texts, on Transformers' Trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from datasets import Dataset
from safetensors.torch import load_file
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoConfig,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

from llmos_server.chat.pairs import PairEncoder
from llmos_server.chat.renderer import Renderer
from llmos_server.data.examples import LabelledExample
from llmos_server.errors import InvalidRequest
from llmos_server.registry.trained import trained_name
from llmos_server.training.arguments import build_arguments, resolve_auto
from llmos_server.training.base import load_tokenizer
from llmos_server.training.class_labels import Classes, find_classes
from llmos_server.training.examples import read_labels
from llmos_server.training.guarded import Guarded
from llmos_server.training.heads import HeadPublisher, verify_classifier
from llmos_server.training.loop import as_dataset, quiet, tell_dropped, train
from llmos_server.training.run import Run
from llmos_server.training.scratch import DEFAULT_SEED
from llmos_server.training.verify import choose_sequences


class GuardedTrainer(Guarded, Trainer):
    """Transformers' own."""


def run(run: Run) -> None:
    """Until the job has succeeded. See training.loop.train for what it raises."""
    if run.spec.values.get("use_peft"):
        raise InvalidRequest("use_peft: a classifier's head can't be served beside its base.", param="use_peft")
    quiet()
    texts = Texts(run.rendering.renderer)
    rows = read_labels(run.training_file, texts.count, run.limits())
    path = run.validation_file
    held = None if path is None else read_labels(path, texts.count, run.limits("validation_file"))
    tell_dropped(run, rows.too_long)
    classes = find_classes([row.label for row in rows.rows], str(run.spec.values.get("problem_type") or "auto"))
    values = resolve_auto(run, rows.num_examples, rows.longest, is_full=True)
    folder = run.base if run.version.kind == "decoder" else Path(run.version.folder)
    tokenizer = load_tokenizer(folder)
    trainer = GuardedTrainer(
        model=_create_model(run, folder, classes, tokenizer.pad_token_id),
        args=build_arguments(TrainingArguments, run, values),
        train_dataset=_dataset(texts, rows.rows, classes),
        eval_dataset=None if held is None else _dataset(texts, held.rows, classes),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
    )
    asked = [texts.encode(row)[0] for row in (held or rows).rows if row.text_pair is None]
    name = trained_name(run.version.name, run.suffix)
    publisher = HeadPublisher(run, trainer.model, choose_sequences(asked), name, folder, verify_classifier)
    train(run, trainer, values, asked, publisher)


@dataclass(frozen=True)
class Texts:
    """Encoded as /v1/classify and /v1/score do."""

    renderer: Renderer

    def encode(self, example: LabelledExample) -> tuple[list[int], int]:
        """Token ids, and from where on they are the second text's."""
        if example.text_pair is None:
            ids = self.renderer.encode_batch([example.text], param="text")[0]
            return ids, len(ids)
        pair = self._pairs.pair(example.text, example.text_pair)
        return pair.ids, pair.second_start

    def count(self, example: LabelledExample) -> int:
        return len(self.encode(example)[0])

    @cached_property
    def _pairs(self) -> PairEncoder:
        return self.renderer.pair_encoder()


def _create_model(run: Run, folder: Path, classes: Classes, pad_id: int | None) -> Any:
    """The base with a new head."""
    set_seed(int(run.spec.values.get("seed", DEFAULT_SEED)))
    config = AutoConfig.from_pretrained(
        folder,
        num_labels=len(classes.names),
        id2label=dict(enumerate(classes.names)),
        label2id={name: place for place, name in enumerate(classes.names)},
        problem_type=classes.problem,
        pad_token_id=pad_id,
    )
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise InvalidRequest(f"Transformers has no classifier for the model_type {config.model_type!r}.", param="model")
    kind: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
    if run.version.kind == "decoder":
        return kind.from_pretrained(folder, config=config, dtype="float32")
    state = {name: tensor for path in run.version.weights for name, tensor in load_file(path).items()}
    return kind.from_pretrained(None, config=config, state_dict=state, dtype="float32", ignore_mismatched_sizes=True)


def _dataset(texts: Texts, rows: Sequence[LabelledExample], classes: Classes) -> Dataset:
    encoded = [texts.encode(row) for row in rows]
    columns: dict[str, list[Any]] = {
        "input_ids": [ids for ids, _ in encoded],
        "labels": [classes.target(row.label) for row in rows],
    }
    if any(row.text_pair is not None for row in rows):
        columns["token_type_ids"] = [[int(at >= start) for at in range(len(ids))] for ids, start in encoded]
    return as_dataset(columns)
