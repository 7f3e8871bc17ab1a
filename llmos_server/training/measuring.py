"""What memory_needs.py has to know of a trainer, and of what it is to learn from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmos_server.training.compact_head import CHUNK_ROWS
from llmos_server.training.memory_needs import Needs, activation_bytes, shape_of
from llmos_server.training.run import Run

COMPACT_METHODS = ("sft", "dpo")
"""Those with compact_head.py."""
NO_STATE_OPTIMIZERS = ("sgd", "adafactor")
"""What these keep is no state for each weight."""
COUNTED = ("prompt_input_ids", "KL_completion_ids")
"""Columns that are part of others, or no longer than those."""
STATES = 2
"""Numbers for each weight that all others keep, as AdamW does."""


def tell_needs(run: Run, trainer: Any) -> None:
    """Before the first step. Raises JobFailed where jobs.memory_bytes allows less.

    Says nothing of a run on a GPU, or of a model whose config doesn't tell its shape.
    """
    needs = measure(run.spec.method, trainer)
    if needs is None:
        return
    run.context.log(
        f"The run will take about {needs.total / 1e9:.1f} GB of memory.", data={"memory_bytes": needs.total}
    )
    needs.check(run.context.settings.jobs.memory_bytes)


def measure(method: str, trainer: Any) -> Needs | None:
    model, args = trainer.model, trainer.args
    shape = shape_of(model.config.get_text_config().to_dict())
    if shape is None or model.device.type != "cpu":
        return None
    num_sequences, longest = _longest(trainer.train_dataset, args)
    num_tokens = args.per_device_train_batch_size * num_sequences * longest
    head_rows = min(num_tokens, CHUNK_ROWS) if method in COMPACT_METHODS else num_tokens
    others = getattr(trainer, "ref_model", None), getattr(trainer, "teacher_model", None)
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    has_states = not str(args.optim).rpartition(".")[2].lower().startswith(NO_STATE_OPTIMIZERS)
    return Needs(
        weights=sum(_num_bytes(one.parameters()) for one in (model, *others) if one is not None),
        training=trained * (1 + (STATES if has_states else 0)),
        activations=activation_bytes(shape, num_tokens, head_rows, is_checkpointed=_is_checkpointed(args)),
        num_processes=args.world_size,
    )


def _is_checkpointed(args: Any) -> bool:
    """Under either of its names."""
    return any(getattr(args, name, False) for name in ("activation_checkpointing", "gradient_checkpointing"))


def _num_bytes(parameters: Iterable[Any]) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)


def _longest(dataset: Any, args: Any) -> tuple[int, int]:
    """Sequences of one example, and the tokens of the longest one. What isn't tokens yet is as long as it may be."""
    columns = [name for name in dataset.column_names if name.endswith("ids") and name not in COUNTED]
    if not columns:
        return 1, (getattr(args, "max_length", None) or 0) + (getattr(args, "max_completion_length", None) or 0)
    longest = 0
    for row in dataset:
        lengths = {name: len(row[name]) for name in columns}
        answers = [lengths.pop(name) for name in columns if name.startswith(("chosen", "rejected"))]
        longest = max(longest, sum(lengths.values()) + max(answers, default=0))
    return 2 if any(name.startswith("rejected") for name in columns) else 1, longest
