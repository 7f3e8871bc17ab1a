"""A recipe's keys to the object that a trainer takes: TRL's meaning of each, and what a run decides itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import torch

from llmos_server.errors import InvalidRequest
from llmos_server.models.config import load_values
from llmos_server.training.auto import Chosen, choose
from llmos_server.training.memory_needs import most_tokens, shape_of
from llmos_server.training.ranks import num_ranks
from llmos_server.training.run import Run

T = TypeVar("T")

MICRO_BATCH_TOKENS = 1024
"""Of a forward pass, where the run chooses the batch: a CPU is no faster with more, and memory grows with it."""
LOCAL_TRACKERS = ("tensorboard", "trackio")


def build_arguments(kind: type[T], run: Run, values: Mapping[str, Any]) -> T:
    """kind: TRL's configuration class of the method. values: with everything that was left to the run.

    Raises InvalidRequest with TRL's own words for values that don't go together.
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    given = {key: value for key, value in values.items() if key in names}
    given["learning_rate"] = _learning_rate(kind, given) * run.spec.learning_rate_multiplier
    given |= {
        "output_dir": str(run.output),
        "report_to": given.get("report_to") or "none",
        "use_cpu": not torch.cuda.is_available(),
        "bf16": _uses_bf16(given),
        "disable_tqdm": True,
        "logging_nan_inf_filter": False,
        "include_num_input_tokens_seen": "non_padding",
        "save_total_limit": None,  # Guarded keeps as many as the recipe says, once each is whole.
    }
    try:
        return kind(**given)
    except (TypeError, ValueError, ImportError) as error:
        raise InvalidRequest(f"The recipe can't be run: {error}") from None


def resolve_auto(run: Run, num_examples: int, longest: int, *, is_full: bool) -> dict[str, Any]:
    """The recipe's values with those that were left to the run, which are told as chosen."""
    values = dict(run.spec.values)
    chosen = choose(run.spec.method, num_examples, is_full=is_full)
    auto = {key: value for key, value in chosen.as_values().items() if key in run.spec.auto}
    run.results.tell(None, "Preparing", stage="preparing", num_examples=num_examples, chosen=auto)
    values |= auto
    if "per_device_train_batch_size" in auto:
        values |= _in_micro_batches(chosen, longest, min(MICRO_BATCH_TOKENS, _affordable_tokens(run, is_full)))
    return values


def _affordable_tokens(run: Run, is_full: bool) -> int:
    """Of one pass, by what the job may have of memory."""
    most = run.context.settings.jobs.memory_bytes // num_ranks()
    if not most or not run.spec.model or torch.cuda.is_available():
        return MICRO_BATCH_TOKENS
    shape = shape_of(load_values(Path(run.version.folder)))
    if shape is None:
        return MICRO_BATCH_TOKENS
    return most_tokens(shape, run.version.num_parameters, most, is_full=is_full)


def _in_micro_batches(chosen: Chosen, longest: int, max_tokens: int) -> dict[str, int]:
    """The same step in several passes: the loss is an average over the step's tokens either way."""
    share = size = max(1, chosen.batch_size // num_ranks())
    while size > 1 and size * longest > max_tokens:
        size //= 2
    return {"per_device_train_batch_size": size, "gradient_accumulation_steps": share // size}


def _learning_rate(kind: Any, given: Mapping[str, Any]) -> float:
    default = next(field.default for field in fields(kind) if field.name == "learning_rate")
    return float(given.get("learning_rate", default))


def _uses_bf16(given: Mapping[str, Any]) -> bool:
    """TRL's default is yes; on a CPU that has no instructions for it, it would be many times slower than float32."""
    if given.get("bf16") is not None:
        return bool(given["bf16"])
    if given.get("fp16"):
        return False
    return torch.cuda.is_available() or has_bf16_products()


def has_bf16_products() -> bool:
    """Whether this CPU multiplies bfloat16 by itself."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
