"""What a run tells of itself while it goes on: the job's result and its share, of which TuneResult has the words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llmos_server.job_contracts import JobContext
from llmos_server.training.spec import TunedCheckpoint, TuneResult

NAMES = {
    "loss": "train_loss",
    "mean_token_accuracy": "train_mean_token_accuracy",
    "eval_loss": "valid_loss",
    "eval_mean_token_accuracy": "valid_mean_token_accuracy",
}
"""TRL's names to OpenAI's."""
DROPPED = frozenset(
    {
        "eval_num_tokens", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second",
        "num_input_tokens_seen", "num_tokens", "total_flos", "train_loss", "train_runtime", "train_samples_per_second",
        "train_steps_per_second", "train_tokens_per_second",
    }
)  # fmt: skip
"""Sums since the process began, which are wrong once a run was resumed, and what TuneResult tells."""


class Results:
    """Begins with what earlier attempts told."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self.state = TuneResult()
        self._share = context.job.progress
        self.latest: dict[str, float] = {}
        """The numbers that were told last."""
        if context.job.result:
            self.state = msgspec.json.decode(context.job.result, type=TuneResult)

    def tell(self, share: float | None, detail: str, **changes: Any) -> None:
        """share: None stays where it was. changes: fields of TuneResult."""
        self._share = self._share if share is None else share
        self.note(**changes)
        self._context.progress(self._share, detail, self.state)

    def note(self, **changes: Any) -> None:
        """Told with the next tell(). changes: fields of TuneResult."""
        self.state = msgspec.structs.replace(self.state, **changes)

    def metrics(self, step: int, logs: Mapping[str, Any], **more: float) -> None:
        """A trainer's logs, by the names that are told; more: only beside a loss of training."""
        found = renamed(logs)
        if "train_loss" in found:
            found |= more
        if found.keys() - {"epoch"}:
            self.latest |= found
            self._context.metrics(step, found)

    def with_checkpoint(self, checkpoint: TunedCheckpoint) -> None:
        """In place of an earlier attempt's of the same step, with its metrics as they are now; told with tell()."""
        checkpoint = msgspec.structs.replace(checkpoint, metrics=dict(checkpoint.metrics))
        others = [other for other in self.state.checkpoints if other.step != checkpoint.step]
        self.note(checkpoints=sorted([*others, checkpoint], key=lambda one: one.step))

    def without_checkpoint(self, step: int) -> None:
        self.note(checkpoints=[one for one in self.state.checkpoints if one.step != step])


def renamed(logs: Mapping[str, Any]) -> dict[str, float]:
    """A trainer's logs by the names that are told."""
    return {
        NAMES.get(name, name): float(value)
        for name, value in logs.items()
        if name not in DROPPED and isinstance(value, int | float)
    }
