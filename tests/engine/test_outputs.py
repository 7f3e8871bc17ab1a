from __future__ import annotations

from engine_fakes import make_request

from llmos_server.contracts import TokenLogprob
from llmos_server.engine.outputs import append_tokens
from llmos_server.engine.sequence import Sequence
from llmos_server.engine.step import SampledToken


def test_stop_token_before_min_tokens_is_an_ordinary_token() -> None:
    request = make_request("a", [1], max_tokens=9, min_tokens=1, stop_token_ids=(5,))
    sequence = Sequence(request=request, index=0, arrival=0.0)
    first, second = (append_tokens(sequence, [SampledToken(sequence, 5, None)], now=0.0) for _ in range(2))
    assert (first.token_ids, first.finish_reason) == ([5], None)
    assert (second.token_ids, second.finish_reason, second.stop_token_id) == ([], "stop", 5)
    assert sequence.output_ids == [5]


def test_cumulative_logprob_counts_the_stop_token() -> None:
    request = make_request("a", [1], max_tokens=9, stop_token_ids=(5,), logprobs=0)
    sequence = Sequence(request=request, index=0, arrival=0.0)
    append_tokens(sequence, [SampledToken(sequence, 4, TokenLogprob(4, -1.0))], now=0.0)
    last = append_tokens(sequence, [SampledToken(sequence, 5, TokenLogprob(5, -0.5))], now=0.0)
    assert last.cumulative_logprob == -1.5
    assert last.logprobs == []
    assert last.stop_logprob == TokenLogprob(5, -0.5)


def test_what_follows_the_end_in_the_same_step_is_dropped() -> None:
    drawn = [SampledToken(None, token_id, TokenLogprob(token_id, -1.0)) for token_id in (4, 5, 6, 7)]
    stopped = Sequence(
        request=make_request("a", [1], max_tokens=9, stop_token_ids=(6,), logprobs=0), index=0, arrival=0.0
    )
    delta = append_tokens(stopped, drawn, now=0.0)
    assert (delta.token_ids, delta.finish_reason, delta.stop_token_id) == ([4, 5], "stop", 6)
    assert delta.logprobs == [TokenLogprob(4, -1.0), TokenLogprob(5, -1.0)]
    assert delta.cumulative_logprob == -3.0
    full = Sequence(request=make_request("a", [1], max_tokens=3), index=0, arrival=0.0)
    delta = append_tokens(full, drawn, now=0.0)
    assert (delta.token_ids, delta.finish_reason, delta.stop_token_id) == ([4, 5, 6], "length", None)
    assert full.output_ids == [4, 5, 6]
