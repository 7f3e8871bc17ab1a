"""Where work on text runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from tokenizers import normalizers

from llmos_server.chat.pool import TextPool
from llmos_server.errors import TextBusy, UnsupportedModel


@pytest.fixture
def pool() -> Iterator[TextPool]:
    pool = TextPool(max_workers=2, inline_below_chars=10)
    yield pool
    pool.close()


def test_small_inputs_run_in_the_calling_thread(pool: TextPool) -> None:
    assert asyncio.run(pool.run(9, threading.current_thread)) is threading.current_thread()


def test_large_inputs_leave_the_event_loop_free(pool: TextPool) -> None:
    async def main() -> str:
        go_on = threading.Event()
        waiting = asyncio.ensure_future(pool.run(10, go_on.wait))
        await asyncio.sleep(0)
        go_on.set()  # only possible because the loop is not blocked
        return "free" if await waiting else "blocked"

    assert asyncio.run(main()) == "free"


def test_no_more_threads_than_allowed(pool: TextPool) -> None:
    async def main() -> set[str]:
        return set(await asyncio.gather(*(pool.run(10, lambda: threading.current_thread().name) for _ in range(20))))

    assert len(asyncio.run(main())) <= 2


def test_arguments_and_errors_come_through(pool: TextPool) -> None:
    async def main() -> None:
        for size in (1, 100):
            assert await pool.run(size, int, "ff", base=16) == 255
            with pytest.raises(ValueError, match="invalid literal"):
                await pool.run(size, int, "x")

    asyncio.run(main())


def test_what_waits_is_dropped_when_nobody_waits_for_it(pool: TextPool) -> None:
    async def main() -> None:
        go_on, done = threading.Event(), []
        running = [asyncio.ensure_future(pool.run(10, go_on.wait)) for _ in range(2)]
        waiting = [asyncio.ensure_future(pool.run(10, done.append, i)) for i in range(3)]
        await asyncio.sleep(0)
        assert pool.num_inside == 5
        waiting[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[1]
        assert pool.num_inside == 4
        go_on.set()
        await asyncio.gather(*running, waiting[0], waiting[2])
        assert sorted(done) == [0, 2]
        assert pool.num_inside == 0

    asyncio.run(main())


def test_no_more_may_wait_than_allowed() -> None:
    pool = TextPool(max_workers=1, inline_below_chars=10, max_waiting=2)

    async def main() -> None:
        go_on = threading.Event()
        inside = [asyncio.ensure_future(pool.run(10, go_on.wait)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(TextBusy, match="3 long texts wait") as caught:
            await pool.run(10, str)
        assert caught.value.retry_after > 0
        assert await pool.run(9, str) == ""  # A short text waits for nobody.
        go_on.set()
        await asyncio.gather(*inside)
        assert await pool.run(10, str) == ""

    asyncio.run(main())
    pool.close()


@pytest.mark.parametrize("size", [9, 10])
def test_a_tokenizer_that_panics_is_an_error_like_others(pool: TextPool, size: int) -> None:
    damaged = normalizers.Precompiled(bytes(4))  # A table of replacements without a single entry.
    with pytest.raises(UnsupportedModel, match="damaged"):
        asyncio.run(pool.run(size, damaged.normalize_str, "text"))
