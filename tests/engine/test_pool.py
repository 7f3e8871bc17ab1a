"""A pool of pages that becomes smaller and larger while requests run."""

from __future__ import annotations

from engine_fakes import Engine, expected_choice, make_request

from llmos_server.contracts import GenerateRequest


def started(num_requests: int, *, prompt: int = 8, max_tokens: int = 12) -> tuple[Engine, list[GenerateRequest]]:
    """An engine of 32 pages of 4 tokens, whose longest sequence takes 8; all requests are running."""
    engine = Engine(num_pages=32, page_size=4, max_len=32)
    requests = [make_request(f"r{i}", [i] * prompt, max_tokens) for i in range(num_requests)]
    for request in requests:
        engine.core.add(request)
    for _ in range(2):
        engine.step()
    assert len(engine.scheduler.running) == num_requests
    return engine, requests


def finish(engine: Engine, requests: list[GenerateRequest]) -> None:
    engine.run()
    for request in requests:
        assert engine.output(request.request_id) == expected_choice(request, 0).token_ids


def test_pages_in_use_move_and_nobody_is_preempted() -> None:
    engine, requests = started(4, prompt=24, max_tokens=4)
    pages = {page for sequence in engine.scheduler.running for page in sequence.pages}
    engine.core.abort("r0")
    assert max(pages) >= 22
    engine.core.resize_pool(22)
    done = []
    engine.core.on_resize = lambda: done.append(engine.core.stats().num_pages)
    engine.step()
    assert done == [22]
    assert engine.core.map_pages().pages[22:] == "-" * 10
    finish(engine, requests[1:])
    assert engine.core.stats().num_preemptions == 0


def test_who_holds_too_many_gives_way_and_comes_again() -> None:
    engine, requests = started(6, max_tokens=20)
    engine.core.resize_pool(8)
    finish(engine, requests)
    stats = engine.core.stats()
    assert (stats.num_pages, stats.num_free_pages) == (8, 8)
    assert stats.num_preemptions > 0


def test_the_longest_sequence_fits_into_the_smallest_pool() -> None:
    engine, _ = started(1)
    engine.core.resize_pool(1)
    longest = make_request("long", [9] * 16, 16)
    engine.core.add(longest)
    finish(engine, [longest])
    assert engine.core.stats().num_pages == 8


def test_what_was_used_last_stays_cached() -> None:
    engine, requests = started(3, prompt=16, max_tokens=4)
    engine.run()
    recent = make_request("recent", [*requests[0].prompt_ids, 7, 7, 7, 7, 7], 1)
    engine.core.add(recent)
    engine.run()
    engine.core.resize_pool(8)
    engine.run()
    assert engine.core.stats().num_cached_pages == 8
    again = make_request("again", recent.prompt_ids, 1)
    engine.core.add(again)
    engine.run()
    assert engine.deltas["again", 0][0].num_cached_tokens == 20
    engine.core.resize_pool(32)
    engine.run()
    assert engine.core.stats().num_free_pages == 32
    assert engine.core.map_pages().pages.count("c") >= 5
