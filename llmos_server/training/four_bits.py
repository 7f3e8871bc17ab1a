"""An adapter that was trained over a base in 4 bits is served over the base as it is: how far apart are the two?"""

from __future__ import annotations

from typing import Any

from llmos_server.job_contracts import JobFailed
from llmos_server.training.verify import ask_trainer, expected_difference

FOUR_BIT_TOLERANCE = 0.3
"""Of the mean difference of log-probabilities, each token counted by how likely the model in 4 bits finds it."""
ADDED_TOLERANCE = 0.1
"""How much an adapter may add to its base's own difference over the same tokens, where that is beyond already: of small
models 4 bits leave less than of large ones."""


def is_in_four_bits(model: Any) -> bool:
    return bool(getattr(model, "is_loaded_in_4bit", False))


def keep_trainable(model: Any) -> None:
    """bitsandbytes repacks a layer's weights when it is first asked without gradients on a CPU with bfloat16, and no
    gradient passes through it ever after: an evaluation between two steps would end the learning, without a word."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def compare_with_served(trained: Any, served: Any, sequences: list[list[int]]) -> float:
    """trained: in 4 bits. served: with the same adapter over the base as it is.

    Raises JobFailed when they are so far apart that what was learned over one isn't known to hold over the other.
    """
    difference = expected_difference(ask_trainer(trained, sequences), ask_trainer(served, sequences))
    if not difference < FOUR_BIT_TOLERANCE:
        with trained.disable_adapter(), served.disable_adapter():
            known = expected_difference(ask_trainer(trained, sequences), ask_trainer(served, sequences))
        if not difference < known + ADDED_TOLERANCE:
            raise JobFailed(
                "What was trained in 4 bits says other things over the base that is served, so it isn't served: "
                f"log-probabilities differ by {difference:.2g} on average, where less than {FOUR_BIT_TOLERANCE} is "
                f"allowed, or {known + ADDED_TOLERANCE:.2g}, as the two bases differ by {known:.2g} themselves. The "
                "files are kept in the job's folder. Train without load_in_4bit (sft_lora), or with a lower learning "
                "rate.",
                code="verification_failed",
            )
    return difference
