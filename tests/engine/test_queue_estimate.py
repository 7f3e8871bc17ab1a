from __future__ import annotations

import pytest
from engine_fakes import make_request

from llmos_server.contracts import ChoiceDelta
from llmos_server.engine.queue_estimate import MAX_RETRY_SECONDS, QueueEstimate, bounded_retry


def busy(seconds: float = 20.0, tokens_per_second: int = 50) -> QueueEstimate:
    """An engine that has computed so many tokens of answers, each of 10 tokens."""
    queue = QueueEstimate()
    queue.join(make_request("first", [1], 10), 0.0, was_idle=True)
    for second in range(1, int(seconds) + 1):
        queue.note_step([ChoiceDelta("first", 0, [0] * tokens_per_second)], float(second))
    queue.note_answer(10)
    return queue


def join(queue: QueueEstimate, owner: str, count: int, num_prompt_tokens: int = 80, max_tokens: int = 1000) -> None:
    for number in range(count):
        request = make_request(f"{owner}{number}", [1] * num_prompt_tokens, max_tokens, owner=owner)
        queue.join(request, 20.0, was_idle=False)


def test_nothing_is_estimated_before_the_speed_is_known() -> None:
    queue = QueueEstimate()
    join(queue, "a", 600)
    assert queue.seconds_before("a") == queue.seconds_in_all == queue.seconds_for_a_place("a") == 0.0


def test_a_newcomer_waits_for_its_own_work_and_as_much_of_the_others() -> None:
    queue = busy()  # 100 units of work a second; a request of 80 + 2 * 10 takes one.
    join(queue, "a", 50)
    assert queue.seconds_before("a") == pytest.approx(50, rel=0.01)
    assert queue.seconds_before("b") == 0.0
    join(queue, "b", 10)
    assert queue.seconds_before("a") == pytest.approx(60, rel=0.01)
    assert queue.seconds_before("b") == pytest.approx(20, rel=0.01)
    assert queue.seconds_for_a_place("b") == pytest.approx(2, rel=0.01)
    assert queue.seconds_in_all == pytest.approx(60, rel=0.01)


def test_answers_are_expected_to_be_as_long_as_they_were() -> None:
    queue = busy()
    join(queue, "a", 1, max_tokens=3)
    assert queue.seconds_before("a") == pytest.approx(0.86, rel=0.01)


def test_who_begins_or_leaves_waits_no_longer() -> None:
    queue = busy()
    join(queue, "a", 3)
    queue.note_step([ChoiceDelta("a0", 0, [1])], 20.0)
    queue.leave("a1")
    queue.leave("a1")
    assert (queue.num_waiting, queue.num_waiting_of("a"), queue.num_owners) == (1, 1, 1)
    queue.leave("a2")
    assert queue.seconds_before("a") == 0.0
    assert queue.num_owners == 0


def test_idle_time_is_no_slowness() -> None:
    queue = busy()
    queue.join(make_request("later", [1] * 80), 10_000.0, was_idle=True)
    queue.note_step([ChoiceDelta("later", 0, [1] * 50)], 10_001.0)
    join(queue, "a", 10)
    assert queue.seconds_before("a") == pytest.approx(10, rel=0.1)


def test_retry_after_is_bounded() -> None:
    assert [bounded_retry(seconds) for seconds in (0.0, 7.5, 1e6)] == [1.0, 7.5, MAX_RETRY_SECONDS]
