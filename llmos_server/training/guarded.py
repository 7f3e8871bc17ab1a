"""What our runs add to any trainer of Transformers: numbers that are none end it, and checkpoints are atomic."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from llmos_server.job_contracts import JobFailed
from llmos_server.training import ranks
from llmos_server.training.checkpoints import make_alone, publish, remove_older, staging_folder, whole_checkpoints

REMEDY = "Its checkpoints are kept. Take a lower learning rate, or look at the examples of this step for broken ones."


class Diverged(JobFailed):
    """Loss or gradient is no number any more: later steps could only be the same."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(f"At step {step} {what} was not a finite number. {REMEDY}", code="diverged")


class Guarded:
    """A mixin: put it before a trainer's class. guard() once it is built."""

    accelerator: Any
    args: Any
    model: Any
    state: Any
    output: Path
    staging: Path
    keep: int | None
    _write_told: Callable[[], None]

    def guard(self, output: Path, epoch: int, keep: int | None, write_told: Callable[[], None]) -> None:
        """output: where checkpoints are. epoch: this attempt's. keep: how many checkpoints, None all.

        write_told: called before a checkpoint has its name, for nobody tells again what is before it. Raises where the
        attempt is over.
        """
        self.output, self.keep, self._write_told = output, keep, write_told
        self.staging = staging_folder(output, epoch)
        if ranks.is_first():
            make_alone(self.staging)
        ranks.wait_for_all()

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*args, **kwargs)  # type: ignore[misc]
        if not torch.isfinite(loss).all():
            raise Diverged("the loss", self.state.global_step + 1)
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Asked for between the gradients and the optimiser, which must not see such ones."""
        found = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[misc]
        if not math.isfinite(float(found)):
            raise Diverged("the gradient", self.state.global_step + 1)
        return found

    def _track_num_input_tokens(self, inputs: Any) -> None:
        """Without padding there is no mask, and the token that pads may be one that ends turns: all are counted."""
        if "attention_mask" in inputs or "input_ids" not in inputs:
            super()._track_num_input_tokens(inputs)  # type: ignore[misc]
            return
        number = torch.tensor(inputs["input_ids"].numel(), device=self.args.device)
        self.state.num_input_tokens_seen += int(self.accelerator.gather(number).sum())

    def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """PEFT reads an adapter in float32, also where it is trained in fewer bits, as over a base in 4."""
        kinds = {name: weight.dtype for name, weight in self.model.named_parameters()}
        super()._load_from_checkpoint(*args, **kwargs)  # type: ignore[misc]
        for name, weight in self.model.named_parameters():
            weight.data = weight.data.to(kinds[name])

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.staging)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        staged = self.staging / f"checkpoint-{self.state.global_step}"
        if ranks.is_first():
            shutil.rmtree(staged, ignore_errors=True)
        ranks.wait_for_all()
        super()._save_checkpoint(model, trial)  # type: ignore[misc]
        ranks.wait_for_all()  # Each has written its part.
        if ranks.is_first():
            self._write_told()
            publish(staged, self.output)
            remove_older(self.output, self.keep)
        ranks.wait_for_all()

    def save_checkpoint(self) -> None:
        """Of the step that was just done, whatever save_strategy says."""
        self._save_checkpoint(self.model, None)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """TRL's tells of hubs; what a run was is told by its job."""

    def last_checkpoint(self) -> str | None:
        """Where to go on from."""
        found = whole_checkpoints(self.output)
        return str(found[-1]) if found else None
