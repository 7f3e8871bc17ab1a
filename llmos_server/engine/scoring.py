"""A score request's generation, read to its end."""

from __future__ import annotations

from llmos_server.contracts import ChoiceDelta, Generation, ScoreRequest, Scores


async def collect_scores(request: ScoreRequest, generation: Generation) -> Scores:
    """Whatever ends this early, the engine's work ends with it."""
    logprobs: list[list[float]] = [[] for _ in request.continuations]
    first: ChoiceDelta | None = None
    try:
        async for deltas in generation:
            for delta in deltas:
                logprobs[delta.index] += [entry.logprob for entry in delta.logprobs or []]
                if delta.index == 0 and first is None:
                    first = delta
    finally:
        generation.abort()
    if first is None:
        return Scores(logprobs=logprobs)
    return Scores(
        logprobs=logprobs,
        num_cached_tokens=first.num_cached_tokens,
        queue_seconds=first.queue_seconds,
        prefill_seconds=first.prefill_seconds,
    )
