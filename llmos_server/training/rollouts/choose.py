"""Who samples the answers that a run learns from: this server's engine, or the run itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llmos_server.errors import InvalidRequest
from llmos_server.training.rollouts.engine_sampler import EngineSampler
from llmos_server.training.run import Run
from llmos_server.training.served_as import is_served_as_adapter

OWN_KEYS = ("generation_kwargs", "cache_implementation", "use_transformers_continuous_batching")
"""What only Transformers' own generation knows."""


@contextmanager
def sampled(run: Run, trainer: Any, values: Mapping[str, Any]) -> Iterator[None]:
    """Within it `trainer`, one of TRL's that sample, has its answers from the engine where it can, which is told.

    `use_vllm` is TRL's word for a serving engine: true asks for it, false for the run's own sampling. Raises
    InvalidRequest where it is true and can't be.
    """
    reason = "use_vllm is false" if values.get("use_vllm") is False else why_not(run, trainer, values)
    if reason:
        if values.get("use_vllm"):
            raise InvalidRequest(f"use_vllm: the engine can't sample for this run: {reason}.", param="use_vllm")
        run.context.log(f"Answers are sampled in the run's own process: {reason}.")
        yield
        return
    sampler = EngineSampler(run, trainer)
    trainer.use_vllm, trainer.vllm_generation, trainer._last_loaded_step = True, sampler, -1
    told = "Answers are sampled by this server's engine, by the adapter as each step leaves it."
    if getattr(trainer, "vllm_importance_sampling_correction", False) and not sampler.draws_as_trained:
        trainer.vllm_importance_sampling_correction = False
        told += (
            " The engine tells probabilities as they are before temperature, top_p and the like, so what its rounding "
            "changes isn't corrected; with temperature 1 and no other filter it would be."
        )
    run.context.log(told)
    try:
        yield
    finally:
        sampler.close()


def why_not(run: Run, trainer: Any, values: Mapping[str, Any]) -> str:
    """ "" where the engine can sample."""
    if not run.context.server.key:
        return "no server of this home runs"
    if not is_served_as_adapter(values):
        return "all weights are trained, and the engine would have to load a whole model at every step"
    if values.get("load_in_4bit"):
        return "its base is in 4 bits, and would be another model in the engine"
    if trainer.accelerator.num_processes > 1:
        return "several processes train"
    if own := next((key for key in OWN_KEYS if values.get(key)), None):
        return f"{own} is for that alone"
    return ""
