"""What one step adds to a choice: the finish rules, and the deltas that cross back to the API."""

from __future__ import annotations

import math
from collections.abc import Sequence as Many

from llmos_server.contracts import ChoiceDelta, TokenLogprob
from llmos_server.engine.sequence import Sequence
from llmos_server.engine.step import SampledToken, StepPlan, StepResult


def append_tokens(sequence: Sequence, drawn: Many[SampledToken], now: float) -> ChoiceDelta:
    """Append a step's tokens of a sequence, one or more, up to the one that ends the choice.

    A stop token ends the choice and is not part of the output; before min_tokens it counts as any other token (the
    sampler bans it there), unless a grammar has left nothing else. A complete grammar ends the choice, too.

    now: seconds on the engine's clock.
    """
    params, constraint = sequence.request.sampling, sequence.constraint
    is_first = sequence.num_output_tokens == 0
    token_ids: list[int] = []
    logprobs: list[TokenLogprob] = []
    stop: SampledToken | None = None
    for entry in drawn:
        assert entry.token_id is not None  # Broken requests have been aborted.
        if entry.logprob is not None:
            sequence.cumulative_logprob += entry.logprob.logprob
        can_stop = constraint is not None or sequence.num_output_tokens >= params.min_tokens
        if can_stop and entry.token_id in params.stop_token_ids:
            sequence.finish_reason = "stop"
            stop = entry
            break
        sequence.token_ids.append(entry.token_id)
        token_ids.append(entry.token_id)
        if entry.logprob is not None:
            logprobs.append(entry.logprob)
        if constraint is not None:
            constraint.accept(entry.token_id)
        if constraint is not None and constraint.is_complete:
            sequence.finish_reason = "stop"
            break
        if sequence.num_output_tokens >= sequence.max_output_tokens:
            sequence.finish_reason = "length"
            break
    return _delta(sequence, token_ids, logprobs, is_first=is_first, now=now, stop=stop)


def finish_without_tokens(sequence: Sequence, now: float) -> ChoiceDelta:
    """The only delta of a choice with max_tokens = 0, once its prompt has been computed."""
    sequence.finish_reason = "length"
    return _delta(sequence, [], [], is_first=True, now=now)


def broken_requests(plan: StepPlan, result: StepResult) -> list[str]:
    """Ids of the requests for which the model's numbers were not finite in this step, each once."""
    broken = [sampled.sequence for sampled in result.sampled if sampled.token_id is None]
    broken += [
        plan.chunks[number].sequence
        for number, entries in result.prompt_logprobs.items()
        if not all(math.isfinite(entry.logprob) for entry in entries)
    ]
    return list(dict.fromkeys(sequence.request.request_id for sequence in broken))


def _delta(
    sequence: Sequence,
    token_ids: list[int],
    logprobs: list[TokenLogprob],
    *,
    is_first: bool,
    now: float,
    stop: SampledToken | None = None,
) -> ChoiceDelta:
    request = sequence.request
    opens_request = is_first and sequence.index == 0
    wants_prompt = request.sampling.prompt_logprobs is not None
    started = sequence.first_scheduled
    return ChoiceDelta(
        request_id=request.request_id,
        index=sequence.index,
        token_ids=token_ids,
        finish_reason=sequence.finish_reason,
        stop_token_id=stop.token_id if stop else None,
        logprobs=None if request.sampling.logprobs is None else logprobs,
        cumulative_logprob=sequence.cumulative_logprob,
        num_cached_tokens=sequence.num_cached_tokens,
        prompt_logprobs=sequence.prompt_logprobs if opens_request and wants_prompt else None,
        queue_seconds=started - sequence.arrival if opens_request and started is not None else None,
        prefill_seconds=now - started if opens_request and started is not None else None,
        stop_logprob=stop.logprob if stop else None,
    )
