"""What a trainer's steps are to the job: its share, its numbers, and the moment to end."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from llmos_server.job_contracts import Cancelled, JobStopped, LeaseLost
from llmos_server.training.ranks import agree
from llmos_server.training.results import renamed
from llmos_server.training.run import Run

PREPARED, TRAINED = 0.02, 0.95
"""Shares of a run: what is before the first step, and what is done after the last."""
SMOOTHING = 0.9
"""Of a step's time: how much of what was known stays."""


class Reporter(TrainerCallback):
    """Asks the job at every step. A pause ends the run behind a checkpoint of that step; a cancel at once."""

    def __init__(
        self,
        run: Run,
        output: Path,
        on_checkpoint: Callable[[Path, int], None],
        on_resume: Callable[[Path, int], None],
    ) -> None:
        """on_checkpoint: told of each one in `output`, with its step; on_resume: of the one that this attempt goes on
        from, when the model is as it was there, unless it was written for a pause alone."""
        self._run = run
        self._output = output
        self._on_checkpoint = on_checkpoint
        self._on_resume = on_resume
        self._pending: JobStopped | None = None
        self._is_extra = False
        """The checkpoint is for the pause alone: the recipe would have none here, so it gets no name."""
        self._last: float | None = None
        self._seconds: float | None = None
        self._tokens = 0
        self._tokens_per_second = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._tokens = int(state.num_input_tokens_seen)
        self._run.results.tell(PREPARED, "Training", stage="training", total_steps=state.max_steps)
        if state.global_step:
            self._run.context.log(f"Goes on behind step {state.global_step} of {state.max_steps}.")
            for logs in (logs for logs in state.log_history if logs.get("step") == state.global_step):
                self._run.results.latest |= renamed({name: value for name, value in logs.items() if name != "step"})
            if _has_checkpoint(args, state):
                self._on_resume(self._output / f"checkpoint-{state.global_step}", state.global_step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._last is None:
            self._last = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._measure(int(state.num_input_tokens_seen))
        left = (state.max_steps - state.global_step) * (self._seconds or 0.0)
        share = PREPARED + (TRAINED - PREPARED) * state.global_step / max(1, state.max_steps)
        self._run.results.tell(
            share,
            f"Step {state.global_step} of {state.max_steps}, {self._tokens_per_second:.0f} tokens/s, "
            f"{format_seconds(left)} left",
            trained_tokens=int(state.num_input_tokens_seen),
            estimated_finish=int((time.time() + left) * 1000),
        )
        self._ask()
        if not float(state.epoch).is_integer():  # Else the epoch's own loss and checkpoint come first.
            self._save_for_pause(control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._save_for_pause(control)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._ask()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._last = None

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        speed, memory = self._tokens_per_second, float(memory_bytes())
        self._run.results.metrics(state.global_step, logs or {}, tokens_per_second=speed, memory_bytes=memory)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._is_extra:
            self._run.context.checkpoint()
        else:
            self._on_checkpoint(self._output / f"checkpoint-{state.global_step}", state.global_step)
        self._last = None
        if self._pending is not None:
            raise self._pending

    def _save_for_pause(self, control: Any) -> None:
        if self._pending is not None:
            self._is_extra = not control.should_save
            control.should_save = True

    def _ask(self) -> None:
        stop: JobStopped | None = None
        try:
            self._run.context.check()
        except JobStopped as asked:
            stop = asked
        stop = agree(stop)
        if isinstance(stop, Cancelled | LeaseLost):
            raise stop
        self._pending = stop or self._pending

    def _measure(self, tokens: int) -> None:
        now = time.monotonic()
        if self._last is not None:
            took = now - self._last
            before = took if self._seconds is None else self._seconds
            self._seconds = SMOOTHING * before + (1 - SMOOTHING) * took
            self._tokens_per_second = (tokens - self._tokens) / max(took, 1e-9)
        self._last, self._tokens = now, tokens


def _has_checkpoint(args: Any, state: Any) -> bool:
    """Whether the recipe has one at this step."""
    if args.save_strategy == "steps":
        return bool(state.global_step % state.save_steps == 0 or state.global_step >= state.max_steps)
    return args.save_strategy == "epoch" and float(state.epoch).is_integer()


def memory_bytes() -> int:
    """The most that this process has held: on the GPU where there is one."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def format_seconds(seconds: float) -> str:
    """ "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
