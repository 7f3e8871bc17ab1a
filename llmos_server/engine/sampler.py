"""Logits to tokens. The order of the steps is SamplingParams' own; each step's result depends on its row alone.

Rows that need nothing but the best token share one argmax; others go one by one, in fixed order and float64, so that
a seed gives the same token in any batch.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Many

import numpy as np
import torch

from llmos_server.contracts import SamplingParams, TokenLogprob
from llmos_server.engine.noise import uniform
from llmos_server.engine.sequence import Ahead, Mask, Sequence
from llmos_server.engine.step import Masks, SampledToken
from llmos_server.errors import InvalidRequest

NUCLEUS_CANDIDATES = 1024
"""Tokens ordered first for top_p; only if they hold too little mass is the whole vocabulary ordered."""


History = Sequence | Ahead
Draw = Callable[[torch.Tensor, float, float], int]
"""(scores float32 [vocab], temperature, noise) -> a token of softmax(scores / temperature): a faster way to what
keep_likely and draw do where no token is left out."""


def sample_rows(
    logits: torch.Tensor, sequences: Many[Many[Sequence]], draw_any: Draw | None = None, masks: Masks | None = None
) -> list[SampledToken]:
    """logits: float32 [rows, vocab], left as they are; sequences: who draws from each row. Results in that order."""

    def choose(row: int, sequence: Sequence) -> int | None:
        allowed = masks.of(sequence) if masks else None
        if not is_finite[row] or allowed == []:
            return None
        return _choose(logits[row], best[row], sequence, draw_any, allowed[0] if allowed else None)

    if not sequences:
        return []
    is_finite, best = _peaks(logits)
    chosen = [[choose(row, sequence) for sequence in members] for row, members in enumerate(sequences)]
    entries = _logprobs_of(logits, sequences, chosen)
    return [
        SampledToken(seq, token, entries.get((row, place)))
        for row, members in enumerate(sequences)
        for place, (seq, token) in enumerate(zip(members, chosen[row], strict=True))
    ]


def choose_tokens(logits: torch.Tensor, histories: Many[Ahead], draw_any: Draw | None = None) -> list[int | None]:
    """One token a row, without log-probabilities; None from a row that isn't finite, and where a grammar leaves nothing
    to guess. logits: float32 [rows, vocab]."""
    is_finite, best = _peaks(logits)
    tokens: list[int | None] = []
    for row, ahead in enumerate(histories):
        mask = _look_ahead(ahead, logits.shape[1])
        is_open = is_finite[row] and (mask is None or bool(mask.any()))
        tokens.append(_choose(logits[row], best[row], ahead, draw_any, mask) if is_open else None)
    return tokens


def _look_ahead(ahead: Ahead, vocab_size: int) -> Mask | None:
    """A mask of another model's vocabulary, which may be padded differently."""
    constraint = ahead.sequence.constraint
    if constraint is None:
        return None
    masks = constraint.masks(ahead.draft_ids, ahead.request.sampling.stop_token_ids)
    mask = np.zeros(vocab_size, dtype=np.bool_)
    if len(masks) > len(ahead.draft_ids):
        known = masks[-1][:vocab_size]
        mask[: len(known)] = known
    return mask


def verify_rows(
    logits: torch.Tensor,
    sequence: Sequence,
    draft_ids: list[int],
    draw_any: Draw | None = None,
    masks: Masks | None = None,
) -> list[SampledToken]:
    """Draw from one row after the other as long as the token is the one that was guessed, and something may follow it.
    At least one token, or none at all if a row isn't finite or the grammar has failed. No guess is to blame for that in
    a continuation that is given: its one token is None.

    logits: float32 [1 + len(draft_ids), vocab], after the sequence's last token and after each guess.
    """
    is_finite, best = _peaks(logits)
    if not all(is_finite):
        return [SampledToken(sequence, None, None)] if sequence.continuation else []
    allowed = masks.of(sequence) if masks else None
    tokens: list[int] = []
    for row, guess in enumerate([*draft_ids, None]):
        if allowed is not None and row >= len(allowed):
            break
        history = Ahead(sequence, draft_ids[:row]) if row else sequence
        tokens.append(_choose(logits[row], best[row], history, draw_any, allowed[row] if allowed else None))
        if tokens[-1] != guess:
            break
    num_top = sequence.request.sampling.logprobs
    if num_top is None:
        return [SampledToken(sequence, token, None) for token in tokens]
    entries = token_logprobs(logits[: len(tokens)], tokens, [num_top] * len(tokens))
    return [SampledToken(sequence, token, entry) for token, entry in zip(tokens, entries, strict=True)]


def _peaks(logits: torch.Tensor) -> tuple[list[bool], list[int]]:
    """Of each row, whether it is finite, and its best token. A NaN anywhere in a row is its peak."""
    peaks, best = logits.max(-1)
    return peaks.isfinite().tolist(), best.tolist()


def token_logprobs(
    logits: torch.Tensor, token_ids: Many[int], num_top: Many[int], rows: Many[int] | None = None
) -> list[TokenLogprob]:
    """The model's own log-softmax. logits: float32 [rows, vocab]; rows: which one each token is of, None for one each.

    num_top: of alternatives, which come best first, equal ones by id.
    """
    logprobs = torch.log_softmax(logits, dim=-1)
    places = list(range(len(token_ids))) if rows is None else list(rows)
    own = logprobs[places, list(token_ids)].tolist()
    tops = _top(logprobs if rows is None or not any(num_top) else logprobs[places], num_top)
    return [TokenLogprob(*entry) for entry in zip(token_ids, own, tops, strict=True)]


def _top(logprobs: torch.Tensor, num_top: Many[int]) -> list[list[tuple[int, float]]]:
    width = min(max(num_top, default=0), logprobs.shape[1])
    if width == 0:
        return [[] for _ in num_top]
    floors = logprobs.topk(width).values[:, -1:]
    tops = []
    for row, is_candidate in enumerate(logprobs >= floors):
        ids = is_candidate.nonzero()[:, 0]
        pairs = zip(ids.tolist(), logprobs[row, ids].tolist(), strict=True)
        tops.append(sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[: num_top[row]])
    return tops


def _logprobs_of(
    logits: torch.Tensor, sequences: Many[Many[Sequence]], chosen: Many[Many[int | None]]
) -> dict[tuple[int, int], TokenLogprob]:
    """By (row, place in the row), for those who asked."""
    wanted = [
        (row, place, token, seq.request.sampling.logprobs)
        for row, members in enumerate(sequences)
        for place, (seq, token) in enumerate(zip(members, chosen[row], strict=True))
        if seq.request.sampling.logprobs is not None and token is not None
    ]
    if not wanted:
        return {}
    known = sorted({row for row, *_ in wanted})  # One row may be drawn from by hundreds.
    place_of = {row: place for place, row in enumerate(known)}
    entries = token_logprobs(
        logits[known],
        [token for *_, token, _ in wanted],
        [top for *_, top in wanted],
        [place_of[row] for row, *_ in wanted],
    )
    return {(row, place): entry for (row, place, *_), entry in zip(wanted, entries, strict=True)}


def _changes_scores(sequence: History) -> bool:
    """Whether `adjust` has anything to do."""
    sampling = sequence.request.sampling
    return (
        bool(sampling.logit_bias)
        or sampling.repetition_penalty != 1
        or sampling.presence_penalty != 0
        or sampling.frequency_penalty != 0
        or sequence.num_output_tokens < sampling.min_tokens
    )


def _choose(row: torch.Tensor, best: int, sequence: History, draw_any: Draw | None, allowed: Mask | None) -> int:
    """best: the row's best token. allowed: by the sequence's grammar, at least one."""
    sampling = sequence.request.sampling
    if sequence.request.continuations:
        return sequence.request.continuations[sequence.index][sequence.num_output_tokens]
    is_changed = _changes_scores(sequence)
    if sampling.temperature == 0 and not is_changed and (allowed is None or allowed[best]):
        return best
    scores = adjust(row.clone(), sequence) if is_changed else row
    if allowed is not None:
        scores = _constrain(scores, row, allowed)
    if sampling.temperature == 0:
        return int(scores.argmax())
    position = len(sequence.request.prompt_ids) + sequence.num_output_tokens
    noise = uniform(sampling.seed, sequence.index, position)
    leaves_none_out = sampling.top_p >= 1 and sampling.top_k <= 0 and sampling.min_p <= 0
    if draw_any is not None and leaves_none_out:
        return draw_any(scores, sampling.temperature, noise)
    return draw(keep_likely(scores, sampling), noise)


def _constrain(scores: torch.Tensor, row: torch.Tensor, allowed: Mask) -> torch.Tensor:
    """What the grammar allows. row: the same before any adjustment: min_tokens may have banned all that is left."""
    is_banned = torch.from_numpy(~allowed).to(row.device)
    constrained = scores.masked_fill(is_banned, float("-inf"))
    if not bool(constrained.isneginf().all()):
        return constrained
    return row.masked_fill(is_banned, float("-inf"))


def adjust(scores: torch.Tensor, sequence: History) -> torch.Tensor:
    """logit_bias, min_tokens and penalties, in place. scores: float32 [vocab].

    Raises InvalidRequest for a logit_bias outside the vocabulary.
    """
    sampling = sequence.request.sampling
    vocab_size = scores.shape[0]
    for token_id, bias in sampling.logit_bias.items():
        if not 0 <= token_id < vocab_size:
            raise InvalidRequest(f"logit_bias: {token_id} is no token id (0 to {vocab_size - 1}).", param="logit_bias")
        scores[token_id] += bias
    if sequence.num_output_tokens < sampling.min_tokens:
        scores[[token_id for token_id in sampling.stop_token_ids if 0 <= token_id < vocab_size]] = float("-inf")
    if sampling.repetition_penalty != 1:
        seen = torch.tensor(sequence.token_ids, device=scores.device).unique()
        values = scores[seen]
        penalty = sampling.repetition_penalty
        scores[seen] = torch.where(values < 0, values * penalty, values / penalty)
    if (sampling.presence_penalty or sampling.frequency_penalty) and sequence.num_output_tokens:
        seen, counts = torch.tensor(sequence.output_ids, device=scores.device).unique(return_counts=True)
        scores[seen] -= sampling.presence_penalty + sampling.frequency_penalty * counts
    return scores


def keep_likely(scores: torch.Tensor, sampling: SamplingParams) -> torch.Tensor:
    """temperature, min_p, top_k, top_p. Returns float64 [vocab]: unnormalised probabilities, 0 where a token is out.

    Tokens that tie with the last one kept by top_k stay, as in Transformers; one token always stays.
    """
    scores = scores.double()
    weights = ((scores - scores.max()) / sampling.temperature).exp_()
    if sampling.min_p > 0:
        weights[weights < sampling.min_p] = 0
    if 0 < sampling.top_k < weights.shape[0]:
        weights[weights < weights.topk(sampling.top_k).values[-1]] = 0
    if sampling.top_p < 1:
        weights = _nucleus(weights, sampling.top_p)
    return weights


def _nucleus(weights: torch.Tensor, top_p: float) -> torch.Tensor:
    """The smallest set of best tokens that holds top_p of the mass."""
    target = top_p * float(weights.sum())
    values, ids = weights.topk(min(NUCLEUS_CANDIDATES, weights.shape[0]))
    if float(values.sum()) < target:
        values, ids = weights.sort(descending=True, stable=True)
    mass_before = values.cumsum(0) - values
    is_kept = mass_before < target
    is_kept[0] = True
    kept = ids[is_kept]
    return torch.zeros_like(weights).index_copy_(0, kept, weights[kept])


def draw(weights: torch.Tensor, noise: float) -> int:
    """Invert the distribution function, in order of token id. noise: in [0, 1)."""
    mass = weights.cumsum(0)
    index = torch.searchsorted(mass, noise * mass[-1], right=True)
    return min(int(index), weights.shape[0] - 1)
