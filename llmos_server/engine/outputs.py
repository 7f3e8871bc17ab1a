"""What one step adds to a choice: the finish rule, and the deltas that cross back to the API."""

from __future__ import annotations

from llmos_server.contracts import ChoiceDelta
from llmos_server.engine.sequence import Sequence
from llmos_server.engine.step import SampledToken


def append_token(sampled: SampledToken, now: float) -> ChoiceDelta:
    """Append a sampled token and decide whether the choice ends with it.

    A stop token ends the choice and is not part of the output; before min_tokens it counts as any other token (the
    sampler bans it there). now: seconds on the engine's clock.
    """
    sequence, token_id, logprob = sampled
    params = sequence.request.sampling
    is_first = sequence.num_output_tokens == 0
    is_stop = token_id in params.stop_token_ids and sequence.num_output_tokens >= params.min_tokens
    if logprob is not None:
        sequence.cumulative_logprob += logprob.logprob
    if is_stop:
        sequence.finish_reason = "stop"
    else:
        sequence.token_ids.append(token_id)
        if sequence.num_output_tokens >= params.max_tokens:
            sequence.finish_reason = "length"
    return ChoiceDelta(
        request_id=sequence.request.request_id,
        index=sequence.index,
        token_ids=[] if is_stop else [token_id],
        finish_reason=sequence.finish_reason,
        stop_token_id=token_id if is_stop else None,
        logprobs=None if logprob is None else [] if is_stop else [logprob],
        cumulative_logprob=sequence.cumulative_logprob,
        num_cached_tokens=sequence.num_cached_tokens,
        **_opening(sequence, now if is_first else None),
    )


def finish_without_tokens(sequence: Sequence, now: float) -> ChoiceDelta:
    """The only delta of a choice with max_tokens = 0, once its prompt has been computed."""
    sequence.finish_reason = "length"
    return ChoiceDelta(
        request_id=sequence.request.request_id,
        index=sequence.index,
        token_ids=[],
        finish_reason="length",
        logprobs=None if sequence.request.sampling.logprobs is None else [],
        num_cached_tokens=sequence.num_cached_tokens,
        **_opening(sequence, now),
    )
