"""A job of kind "tune": the same for a recipe of the CLI and for a job of the fine-tuning API."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

from llmos_server.errors import InvalidRequest
from llmos_server.job_contracts import JobContext
from llmos_server.training.adapters import is_served_as_adapter
from llmos_server.training.methods.table import get_method
from llmos_server.training.results import Results
from llmos_server.training.run import Run
from llmos_server.training.spec import TuneSpec


def run(context: JobContext) -> None:
    """Until it has succeeded. What it raises is what becomes of the job: see job_contracts."""
    spec = context.payload(TuneSpec)
    if context.job.owner and not is_served_as_adapter(spec.values):
        raise InvalidRequest(
            "A model that isn't an adapter would be everybody's, so a key can't make one. Train LoRA (use_peft, "
            "without use_dora), or have the operator run: llmos tune",
            param="method",
        )
    if spec.gate is not None and not is_served_as_adapter(spec.values):
        raise InvalidRequest("A gate judges adapters; a whole model is compared with: llmos eval", param="gate")
    module, _, name = get_method(spec.method).entry.partition(":")
    method = cast(Callable[[Run], None], getattr(importlib.import_module(module), name))
    method(Run(context, spec, Results(context)))
