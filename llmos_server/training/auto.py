"""What "auto" means: hyperparameters chosen for small data on one machine, once the data is known. Torch-free.

docs/tuning.md tells why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

AUTO_KEYS = ("num_train_epochs", "per_device_train_batch_size", "learning_rate")
"""Recipe keys that may be left to the run; the batch is the one that an optimiser's step sees."""

MIN_STEPS = 60
"""Fewer steps than this hardly move an adapter."""
MAX_EPOCHS = 10
MAX_BATCH = 16

LEARNING_RATES = {"adapter": 2e-4, "full": 2e-5}
PREFERENCE_SHARE = 0.1
"""Preferences are learnt at a tenth of the rate at which answers are: TRL's and Zephyr's ratio."""


@dataclass(frozen=True)
class Chosen:
    """Resolved values, as the run uses them."""

    num_train_epochs: float
    batch_size: int
    """Examples in one step of the optimiser."""
    learning_rate: float

    def as_values(self) -> dict[str, Any]:
        """By TRL's keys."""
        return {
            "num_train_epochs": self.num_train_epochs,
            "per_device_train_batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
        }


def choose(method: str, num_examples: int, *, is_full: bool) -> Chosen:
    """For a run over so many examples. is_full: all weights are trained, not an adapter."""
    batch_size = choose_batch_size(num_examples)
    steps_per_epoch = -(-num_examples // batch_size)
    epochs = min(MAX_EPOCHS, max(3 if num_examples < 3000 else 1, -(-MIN_STEPS // steps_per_epoch)))
    rate = LEARNING_RATES["full" if is_full else "adapter"]
    if method != "sft":
        rate *= PREFERENCE_SHARE
        epochs = max(1, epochs // 2)
    return Chosen(float(epochs), batch_size, rate)


def choose_batch_size(num_examples: int) -> int:
    """A fortieth of the examples, a power of two, so that an epoch has some dozens of steps."""
    size = 1
    while size * 2 <= min(MAX_BATCH, num_examples / 40):
        size *= 2
    return size
