"""Checkpoints that are there whole or not at all, whoever kills what."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from llmos_server.registry.disk import sync_file

STAGING = ".staging-"
STATE = "trainer_state.json"
NEEDED = (STATE, "scheduler.pt", "training_args.bin")
ONE_OF = (
    {"adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json"},
    {"optimizer.pt"},
    {"rng_state.pth", "rng_state_0.pth"},  # The latter is the first rank's; all have written when it has its name.
)
"""Of each set."""
_NAME = re.compile(r"checkpoint-(\d+)")


def staging_folder(output: Path, epoch: int) -> Path:
    """Where this attempt writes."""
    return output / f"{STAGING}{epoch}"


def make_alone(staging: Path) -> None:
    """Those of earlier attempts are gone then, so that one that still runs can write no more."""
    staging.parent.mkdir(parents=True, exist_ok=True)
    for other in staging.parent.glob(f"{STAGING}*"):
        shutil.rmtree(other, ignore_errors=True)
    staging.mkdir(exist_ok=True)


def publish(staged: Path, output: Path) -> Path:
    """The checkpoint under its own name, with all of it on the disk."""
    for path in staged.rglob("*"):
        if path.is_file():
            sync_file(path)
    final = output / staged.name
    if final.exists():  # By an earlier attempt, whose step it is: the same.
        shutil.rmtree(final)
    staged.rename(final)
    folder = os.open(output, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return final


def whole_checkpoints(output: Path) -> list[Path]:
    """Of any attempt, the earliest step first."""
    found = [(int(match[1]), path) for path in output.glob("checkpoint-*") if (match := _NAME.fullmatch(path.name))]
    return [path for step, path in sorted(found) if _is_whole(path, step)]


def step_of(checkpoint: Path) -> int:
    match = _NAME.fullmatch(checkpoint.name)
    assert match is not None
    return int(match[1])


def remove_older(output: Path, keep: int | None) -> list[int]:
    """All but the last ones. Returns their steps."""
    older = whole_checkpoints(output)[:-keep] if keep else []
    for path in older:
        shutil.rmtree(path, ignore_errors=True)
    return [step_of(path) for path in older]


def _is_whole(path: Path, step: int) -> bool:
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    names = {entry.name for entry in path.iterdir()}
    has_all = names.issuperset(NEEDED) and not any(names.isdisjoint(some) for some in ONE_OF)
    return state.get("global_step") == step and has_all
