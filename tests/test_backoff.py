"""The pause before a worker is started again."""

from __future__ import annotations

from llmos_server.backoff import Backoff


def test_backoff_before_a_worker_was_ever_ready_doubles() -> None:
    backoff = Backoff()
    assert [backoff.delay_after(None) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_worker_that_was_ready_is_started_again_at_once() -> None:
    backoff = Backoff()
    assert [backoff.delay_after(3600.0) for _ in range(3)] == [0, 0, 0]
    assert [backoff.delay_after(1.0) for _ in range(5)] == [0.5, 1, 2, 2, 2]
    assert backoff.delay_after(3600.0) == 0
