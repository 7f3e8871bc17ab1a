"""A file of accelerate, which says how processes share a run: what of it `llmos tune` can honour. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from llmos_server.errors import InvalidRequest

PARAM = "accelerate"
SPLIT_BY_BATCH = "MULTI_GPU"
"""accelerate's word for whole weights in each process, on CPUs as well."""


def read_launch_file(path: Path, processes: int = 0) -> dict[str, Any]:
    """processes: over the file's own number, where it isn't 0. Raises InvalidRequest."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InvalidRequest(f"{path}: is no YAML file: {' '.join(str(error).split())}", param=PARAM) from None
    if not isinstance(config, dict) or "distributed_type" not in config:
        raise InvalidRequest(f"{path}: is no file of accelerate: it has no distributed_type.", param=PARAM)
    config |= {"num_processes": processes or config.get("num_processes")}
    _check(path, config)
    return config


def _check(path: Path, config: dict[str, Any]) -> None:
    num = config["num_processes"]
    if not isinstance(num, int) or num < 1:
        raise InvalidRequest(f"{path}: num_processes: {num!r} is no number of processes.", param=PARAM)
    if config.get("num_machines", 1) != 1:
        raise InvalidRequest(
            f"{path}: num_machines: the ranks of a job are on the machine where its server is. Over several machines "
            "the same recipe runs with torchrun and trl (docs/tuning.md).",
            param=PARAM,
        )
    if config["distributed_type"] != SPLIT_BY_BATCH:
        raise InvalidRequest(
            f"{path}: distributed_type: {config['distributed_type']}: a run here keeps all weights in each process "
            f"({SPLIT_BY_BATCH}), for it compares them with the engine's. The same recipe runs with trl so.",
            param=PARAM,
        )
