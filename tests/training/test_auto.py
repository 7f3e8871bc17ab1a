"""What "auto" comes to."""

from __future__ import annotations

import pytest

from llmos_server.training.auto import MAX_EPOCHS, choose


@pytest.mark.parametrize(
    ("num_examples", "batch", "epochs"), [(1, 1, MAX_EPOCHS), (10, 1, 6), (200, 4, 3), (2000, 16, 3), (20000, 16, 1)]
)
def test_small_data_is_seen_more_often(num_examples: int, batch: int, epochs: int) -> None:
    chosen = choose("sft", num_examples, is_full=False)
    assert (chosen.batch_size, chosen.num_train_epochs) == (batch, epochs)


def test_all_weights_and_preferences_are_learnt_more_slowly() -> None:
    rates = [choose(method, 200, is_full=full).learning_rate for method in ("sft", "dpo") for full in (False, True)]
    assert rates == pytest.approx([2e-4, 2e-5, 2e-5, 2e-6])
