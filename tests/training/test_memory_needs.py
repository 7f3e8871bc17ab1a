"""What a run is said to need before its first step."""

from __future__ import annotations

import pytest

from llmos_server.job_contracts import JobFailed
from llmos_server.training.memory_needs import PROCESS_BYTES, Needs, Shape, activation_bytes, most_tokens

GB = 10**9
SMOLLM2 = Shape(num_layers=30, hidden=576, intermediate=1536, vocab_size=49152)


@pytest.mark.parametrize(
    ("weights", "training", "activations", "remedy"),
    [
        (1, 1, 8, "per_device_train_batch_size"),
        (2, 6, 1, "use_peft"),
        (8, 1, 1, "smaller model"),
    ],
)
def test_what_is_too_much_is_told_with_what_helps(weights: int, training: int, activations: int, remedy: str) -> None:
    needs = Needs(weights=weights * GB, training=training * GB, activations=activations * GB)
    needs.check(needs.total)
    needs.check(0)
    with pytest.raises(JobFailed, match=rf"about {needs.total / GB:.1f} GB .* allows 5.0 GB.*{remedy}") as told:
        needs.check(5 * GB)
    assert told.value.code == "memory_insufficient"


def test_activations_grow_with_tokens_and_less_with_checkpoints() -> None:
    sizes = [activation_bytes(SMOLLM2, tokens, 0, is_checkpointed=False) for tokens in (256, 1024)]
    assert sizes[1] == 4 * sizes[0]
    assert activation_bytes(SMOLLM2, 1024, 0, is_checkpointed=True) < sizes[1] / 8


def test_a_pass_is_as_large_as_memory_allows() -> None:
    counts = [most_tokens(SMOLLM2, 134_515_008, most, is_full=False) for most in (2 * GB, 4 * GB)]
    assert 0 < counts[0] < 300
    assert counts[1] - counts[0] == pytest.approx(2 * GB / activation_bytes(SMOLLM2, 1, 1, is_checkpointed=False), 0.01)
    assert most_tokens(SMOLLM2, 134_515_008, 2 * GB, is_full=True) < 0


def test_each_process_has_all_of_it() -> None:
    alone = Needs(weights=GB, training=0, activations=0)
    assert alone.total == PROCESS_BYTES + GB
    assert Needs(weights=GB, training=0, activations=0, num_processes=2).total == 2 * alone.total
