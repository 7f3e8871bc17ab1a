"""Is what was trained what will be served? The trainer's model and the engine's are asked about the same tokens."""

from __future__ import annotations

import gc
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch

from llmos_server.adapter_contracts import AdapterVersion
from llmos_server.contracts import ModelVersion, TokenLogprob
from llmos_server.engine.messages import WorkerConfig
from llmos_server.engine.worker import create_torch_runner
from llmos_server.job_contracts import JobFailed
from llmos_server.perplexity import configure_alone, foretell
from llmos_server.settings import EngineSettings
from llmos_server.training.states import Nearness, StateRecorder, distance

EXACT_TOLERANCE = 1e-3
"""Of every log-probability, in exact numerics."""
FAST_TOLERANCE = 0.05
"""Of their mean difference, in fast numerics: what those promise of a base over thousands of tokens. A token counts by
how likely the trainer's model finds it: of what an adapter has taught the model never to say, rounding moves
log-probabilities far, and nobody meets that."""
ADDED_TOLERANCE = 0.02
"""How much an adapter may add to its base's own difference over the same few tokens, where that is beyond already."""
MAX_SEQUENCES = 4
MAX_TOKENS = 256
"""Of each. One that is longer is asked about up to there."""
MAX_STATE_TOKENS = 256
"""Of all together, whose hidden states are computed without the adapter, too."""

Numerics = Literal["exact", "fast"]


@dataclass(frozen=True)
class Told:
    """What a model says of some sequences' tokens, all but each one's first."""

    logprobs: list[float]
    likeliest: list[int]
    """Token that it would choose at each place."""
    margins: list[float] | None = None
    """By how much that one leads."""
    states: torch.Tensor | None = None
    """An engine's hidden states [rows, hidden]."""
    base_states: torch.Tensor | None = None
    """Without the adapter, of the first rows."""


@dataclass(frozen=True, kw_only=True)
class Verified:
    num_tokens: int
    exact_difference: float
    """The largest."""
    fast_difference: float
    """The mean."""

    def as_words(self) -> str:
        return (
            f"The engine computes what was trained: over {self.num_tokens} tokens, log-probabilities differ by "
            f"{self.exact_difference:.1e} at most in exact numerics, by {self.fast_difference:.4f} on average in fast."
        )


def choose_sequences(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Some of different lengths."""
    ordered = sorted((list(row[:MAX_TOKENS]) for row in rows if len(row) > 1), key=len)
    step = max(1, len(ordered) // MAX_SEQUENCES)
    return ordered[::-1][::step][:MAX_SEQUENCES]


def verify(
    model: Any,
    version: ModelVersion,
    adapter: AdapterVersion | None,
    sequences: list[list[int]],
    settings: EngineSettings,
) -> Verified:
    """model: the trainer's, in float32. version: what the engine loads, with the adapter if there is one.

    Raises JobFailed when they differ by more than the tolerances: nothing may be registered then.
    """
    trained = ask_trainer(model, sequences)
    version = msgspec.structs.replace(version, quantization="none")
    exact = ask_engine(version, adapter, sequences, settings, "exact")
    worst = max(_differences(trained, exact))
    if not worst <= EXACT_TOLERANCE:
        raise _refusal(f"by {worst:.2g} at most in exact numerics, where {EXACT_TOLERANCE} is allowed")
    if (place := _other_choice(trained, exact)) is not None:
        raise _refusal(f"and so does the likeliest token at place {place}, in exact numerics")
    fast = ask_engine(version, adapter, sequences, settings, "fast")
    near = None if adapter is None else nearness(exact, fast)
    if near is not None and not near.adapted <= near.allowed:
        raise _refusal(
            f"in fast numerics, and hidden states by {near.adapted:.2g} of their length on average, where rounding "
            f"alone moves the base's by {near.base:.2g}"
        )
    mean = expected_difference(trained, fast)
    if not mean < FAST_TOLERANCE:
        known = 0.0 if adapter is None else _difference_of_base(model, version, sequences, settings)
        if not mean < known + ADDED_TOLERANCE:
            raise _refusal(f"by {mean:.2g} on average in fast numerics, where less than {FAST_TOLERANCE} is allowed")
    return Verified(num_tokens=len(trained.logprobs), exact_difference=worst, fast_difference=mean)


@torch.no_grad()
def ask_trainer(model: Any, sequences: list[list[int]]) -> Told:
    """One sequence at a time, without dropout and without autocast."""
    was_training = model.training
    model.eval()
    forward = getattr(model, "_original_forward", model)  # accelerate's own stands in an autocast of its own.
    told = Told([], [], [])
    assert told.margins is not None
    device = next(model.parameters()).device
    with torch.autocast(device.type, enabled=False):
        for ids in sequences:
            given = torch.tensor([ids], device=device)
            logprobs = forward(input_ids=given, use_cache=False).logits[0, :-1].float().log_softmax(-1)
            best = logprobs.topk(2, dim=-1)
            told.logprobs.extend(logprobs.gather(-1, given[0, 1:, None])[:, 0].tolist())
            told.likeliest.extend(best.indices[:, 0].tolist())
            told.margins.extend((best.values[:, 0] - best.values[:, 1]).tolist())
    model.train(was_training)
    return told


def ask_engine(
    version: ModelVersion,
    adapter: AdapterVersion | None,
    sequences: list[list[int]],
    settings: EngineSettings,
    numerics: Numerics,
) -> Told:
    """Loads the model in this process, and lets go of it."""
    threads = torch.get_num_threads()
    settings = replace(
        settings, numerics=numerics, device="cpu", threads=threads, cache_dtype="auto", speculation="off"
    )
    config = configure_alone(version, settings)
    runner: Any
    runner, _ = create_torch_runner(config)
    digest = ""
    if adapter is not None:
        digest = adapter.digest
        runner.adapters[digest] = runner.load_adapter(Path(adapter.folder))
    entries, states = _ask(runner, sequences, config, digest)
    base_states = None if adapter is None else _ask(runner, _first(sequences), config, "")[1]
    del runner
    gc.collect()
    torch.set_num_threads(threads)
    logprobs, likeliest = [entry.logprob for entry in entries], [entry.top[0][0] for entry in entries]
    return Told(logprobs, likeliest, states=states, base_states=base_states)


def _ask(
    runner: Any, sequences: list[list[int]], config: WorkerConfig, digest: str
) -> tuple[list[TokenLogprob], torch.Tensor]:
    """Of each sequence's tokens but the first, and the hidden states of all."""
    recorder: Any = StateRecorder(runner)
    entries = [entry for ids in sequences for entry in foretell(recorder, ids, config, digest)]
    return entries, recorder.states


def nearness(exact: Told, fast: Told) -> Nearness:
    """Of an engine with an adapter in fast numerics to itself in exact ones."""
    assert exact.states is not None
    assert fast.states is not None
    assert exact.base_states is not None
    assert fast.base_states is not None
    rows = len(exact.base_states)
    return Nearness(
        distance(fast.states[:rows], exact.states[:rows]),
        distance(fast.base_states, exact.base_states),
        distance(exact.states[:rows], exact.base_states),
    )


def _first(sequences: list[list[int]]) -> list[list[int]]:
    """At least one."""
    ends = accumulate(map(len, sequences))
    return [ids for ids, end in zip(sequences, ends, strict=True) if end <= MAX_STATE_TOKENS] or sequences[:1]


def _differences(one: Told, other: Told) -> list[float]:
    return [abs(a - b) for a, b in zip(one.logprobs, other.logprobs, strict=True)]


def _difference_of_base(
    model: Any, version: ModelVersion, sequences: list[list[int]], settings: EngineSettings
) -> float:
    """In fast numerics, without the adapter."""
    with model.disable_adapter():
        trained = ask_trainer(model, sequences)
    return expected_difference(trained, ask_engine(version, None, sequences, settings, "fast"))


def expected_difference(trained: Told, engine: Told) -> float:
    """The mean of the differences, each weighted by the probability that the trainer's model gives the token."""
    weights = [math.exp(logprob) for logprob in trained.logprobs]
    weighted = math.fsum(map(operator.mul, weights, _differences(trained, engine)))
    return weighted / max(math.fsum(weights), 1e-9)


def _other_choice(trained: Told, engine: Told) -> int | None:
    """Where the engine would choose another token, though the trainer's leads by more than the tolerance."""
    assert trained.margins is not None
    places = zip(trained.likeliest, engine.likeliest, trained.margins, strict=True)
    return next((place for place, (a, b, lead) in enumerate(places) if a != b and lead > 2 * EXACT_TOLERANCE), None)


def _refusal(how: str) -> JobFailed:
    return JobFailed(
        f"The engine doesn't compute what was trained, so the result isn't served: log-probabilities differ {how}. The "
        "files are kept in the job's folder, and checkpoints that were equal answer by their names. Where only fast "
        "numerics differ, fewer epochs or a lower learning rate mend it; else please report it, with the model's name.",
        code="verification_failed",
    )
