"""What training takes in memory, told before its first step; docs/tuning.md tells how true it is. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmos_server.job_contracts import JobFailed

FLOAT_BYTES = 4
PROCESS_BYTES = 900 * 2**20
"""The interpreter with torch, Transformers, PEFT and TRL, and what it works with beside the model."""
HIDDEN_COPIES, INTERMEDIATE_COPIES = 20, 5
"""Floats that a layer keeps of a token for the backward pass, in hidden and intermediate sizes, with what the
allocator holds in between: measured with PEFT (docs/tuning.md)."""
ADAPTER_SHARE = 20
"""An adapter of rank 16 on all linear layers has about such a part of a small model's weights."""
HEAD_COPIES = 4
"""Of a row of logits: itself, its log-probabilities, and both gradients."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Of a decoder, as far as activations depend on it."""

    num_layers: int
    hidden: int
    intermediate: int
    vocab_size: int


def shape_of(config: Mapping[str, Any]) -> Shape | None:
    """config: as config.json has it. None where it doesn't tell."""
    names = ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
    layers, hidden, intermediate, vocab = (config.get(name) or 0 for name in names)
    if not layers * hidden * intermediate * vocab:
        return None
    return Shape(num_layers=layers, hidden=hidden, intermediate=intermediate, vocab_size=vocab)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """In bytes."""

    weights: int
    """Of the model, and of a second one that it is compared with."""
    training: int
    """Gradients, and what the optimiser keeps, of each weight that is trained."""
    activations: int
    """Of one forward pass, kept for the backward pass; the head's logits, too."""
    num_processes: int = 1
    """Each has all of it."""

    @property
    def total(self) -> int:
        return self.num_processes * (PROCESS_BYTES + self.weights + self.training + self.activations)

    def check(self, most: int) -> None:
        """Raises JobFailed that names what may be lowered. most: 0 sets no bound."""
        if most and self.total > most:
            each = f" in each of {self.num_processes} processes" if self.num_processes > 1 else ""
            raise JobFailed(
                f"The run would take about {_gigabytes(self.total)} of memory, and jobs.memory_bytes allows "
                f"{_gigabytes(most)}. It needs{each} {_gigabytes(PROCESS_BYTES)} for itself, "
                f"{_gigabytes(self.weights)} for weights, {_gigabytes(self.training)} for gradients and the optimizer, "
                f"{_gigabytes(self.activations)} for what one pass keeps. {self._remedy()}",
                code="memory_insufficient",
            )

    def _remedy(self) -> str:
        if max(self.activations, self.training, self.weights) < PROCESS_BYTES // 8:
            return "Raise jobs.memory_bytes."
        if self.activations >= max(self.training, self.weights):
            return (
                "Take a smaller per_device_train_batch_size (with more gradient_accumulation_steps), a smaller "
                "max_length or activation_checkpointing: true; or raise jobs.memory_bytes."
            )
        if self.training > self.weights:
            return "Train an adapter (use_peft: true) instead of all weights, or raise jobs.memory_bytes."
        return "Take a smaller model, or raise jobs.memory_bytes."


def activation_bytes(shape: Shape, num_tokens: int, head_rows: int, *, is_checkpointed: bool) -> int:
    """num_tokens: of one pass, padding included. head_rows: of them, so many have logits at a time."""
    layer = num_tokens * FLOAT_BYTES * (HIDDEN_COPIES * shape.hidden + INTERMEDIATE_COPIES * shape.intermediate)
    kept = shape.num_layers * layer
    if is_checkpointed:  # Each layer's input, and one whole layer.
        kept = shape.num_layers * num_tokens * FLOAT_BYTES * shape.hidden + layer
    return kept + HEAD_COPIES * head_rows * shape.vocab_size * FLOAT_BYTES


def most_tokens(shape: Shape, num_parameters: int, most: int, *, is_full: bool) -> int:
    """Of one pass that fits `most` bytes, by the same rule, before the model is there; below 1: none does."""
    trained = num_parameters if is_full else num_parameters // ADAPTER_SHARE
    left = most - PROCESS_BYTES - FLOAT_BYTES * (num_parameters + 3 * trained)
    return left // activation_bytes(shape, 1, 1, is_checkpointed=False)


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
