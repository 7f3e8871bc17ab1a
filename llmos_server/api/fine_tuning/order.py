"""A fine-tuning job as it is kept: what its run is to do, and what the request said, to be shown again."""

from __future__ import annotations

from typing import Any

import msgspec

from llmos_server.api.schemas.fine_tuning import Hyperparameters
from llmos_server.job_contracts import Job
from llmos_server.training.spec import TuneResult, TuneSpec


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    hyperparameters: Hyperparameters
    training_file: str
    validation_file: str | None
    suffix: str | None
    metadata: dict[str, str] | None
    recipe: str
    """Its name."""
    set: dict[str, Any]


class Order(TuneSpec, frozen=True, kw_only=True):
    """The payload of the job. Its run reads the TuneSpec of it."""

    asked: Asked | None = None
    """None: the job was not made by this API, but by `llmos tune`."""


def read_order(job: Job) -> Order:
    """Raises msgspec.DecodeError for one that another version has written."""
    return msgspec.json.decode(job.payload, type=Order)


def read_result(job: Job) -> TuneResult:
    """As far as it has come."""
    return TuneResult() if job.result is None else msgspec.json.decode(job.result, type=TuneResult)
