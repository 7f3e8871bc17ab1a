"""The limits of keys, with a clock of the tests' own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.access.limits import Limiter, TokenBucket, format_seconds
from llmos_server.errors import RateLimited
from llmos_server.key_contracts import NOBODY, Principal


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limited(tokens: int | None = None, in_flight: int | None = None, key_id: str = "a") -> Principal:
    return Principal(key_id=key_id, tokens_per_minute=tokens, max_in_flight=in_flight)


@given(st.integers(1, 10_000), st.lists(st.tuples(st.floats(0, 90), st.integers(0, 3000)), max_size=40))
def test_no_key_uses_more_than_its_rate_beside_one_overdraft(tokens: int, requests: list[tuple[float, int]]) -> None:
    """Over any time, at most a full bucket, what was refilled, and the one request that overdrew it."""
    clock = Clock()
    limiter = Limiter(clock)
    used, largest = 0, 0
    for pause, size in requests:
        clock.now += pause
        try:
            lease = limiter.enter(limited(tokens))
        except RateLimited as refused:
            clock.now += refused.retry_after * (1 + 1e-9) + 1e-6
            lease = limiter.enter(limited(tokens))  # Retry-After was honest.
        lease.charge(size)
        lease.close()
        used, largest = used + size, max(largest, size)
        assert used <= tokens + (clock.now - 1000.0) * tokens / 60 + largest + 1e-3


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 90), st.integers(0, 3000)), max_size=30))
def test_another_rate_gives_no_tokens_at_once(steps: list[tuple[int, float, int]]) -> None:
    now, bucket = 0.0, TokenBucket(100, 0.0)
    for tokens, pause, size in steps:
        now += pause
        before = bucket.level(now)
        bucket.resize(tokens, now)
        assert bucket.level(now) == min(before, tokens)
        bucket.take(size, now)


def test_a_changed_limit_holds_for_the_next_request() -> None:
    clock = Clock()
    limiter = Limiter(clock)
    limiter.enter(limited(10)).charge(10)
    with pytest.raises(RateLimited):
        limiter.enter(limited(60))
    clock.now += 1.0
    assert limiter.enter(limited(60)).headers()["x-ratelimit-remaining-tokens"] == "1"
    assert limiter.enter(limited(None)).headers() == {}


@given(st.lists(st.tuples(st.floats(-5, 60), st.integers(0, 500)), max_size=40))
def test_a_bucket_is_never_fuller_than_full(steps: list[tuple[float, int]]) -> None:
    now, bucket = 0.0, TokenBucket(100, 0.0)
    for pause, size in steps:
        now += pause
        before = bucket.level(now)
        assert before <= 100
        bucket.take(size, now)
        assert bucket.level(now) == pytest.approx(before - size)


@given(st.integers(1, 5), st.lists(st.booleans(), max_size=60))
def test_requests_in_flight_are_counted(most: int, steps: list[bool]) -> None:
    limiter, running = Limiter(Clock()), []
    for enters in steps:
        if not enters:
            if running:
                lease = running.pop()
                lease.close()
                lease.close()
        elif len(running) < most:
            running.append(limiter.enter(limited(in_flight=most)))
            assert running[-1].headers()["x-ratelimit-remaining-requests"] == str(most - len(running))
        else:
            with pytest.raises(RateLimited, match=f"{most} requests"):
                limiter.enter(limited(in_flight=most))
            limiter.enter(limited(in_flight=most, key_id="other")).close()


def test_headers_are_openais_and_only_for_limits_that_there_are() -> None:
    limiter = Limiter(Clock())
    assert limiter.enter(NOBODY).headers() == limiter.enter(Principal(key_id="free")).headers() == {}
    lease = limiter.enter(limited(600))
    lease.charge(30)
    assert lease.headers() == {
        "x-ratelimit-limit-tokens": "600",
        "x-ratelimit-remaining-tokens": "570",
        "x-ratelimit-reset-tokens": "3s",
    }


@pytest.mark.parametrize(("seconds", "text"), [(0, "0ms"), (0.12, "120ms"), (1.55, "1.6s"), (59, "59s"), (360, "6m0s")])
def test_times_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert format_seconds(seconds) in (text, text.replace("1.6", "1.5"))
