"""A job of kind "tune": the same for a recipe of the CLI and for a job of the fine-tuning API."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import cast

from llmos_server.job_contracts import JobContext
from llmos_server.training.four_bit_keys import require_four_bits
from llmos_server.training.methods.table import get_method
from llmos_server.training.results import Results
from llmos_server.training.run import Run
from llmos_server.training.served_as import require_allowed
from llmos_server.training.spec import TuneSpec


def run(context: JobContext) -> None:
    """Until it has succeeded. What it raises is what becomes of the job: see job_contracts."""
    spec = context.payload(TuneSpec)
    require_allowed(spec.values, context.job.owner, has_gate=spec.gate is not None)
    require_four_bits(spec.values)
    if spec.processes > 1 or spec.accelerate:
        from llmos_server.training.launching import launch

        launch(context, spec)
    else:
        _run_method(context, spec)


def run_rank(context: JobContext) -> None:
    """In each process of a run that has several."""
    from llmos_server.training.launching import RANKS
    from llmos_server.training.ranks import meet

    with meet(context.folder / RANKS):
        _run_method(context, context.payload(TuneSpec))


def _run_method(context: JobContext, spec: TuneSpec) -> None:
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # It recommends kernels that would come from a hub.
    module, _, name = get_method(spec.method).entry.partition(":")
    method = cast(Callable[[Run], None], getattr(importlib.import_module(module), name))
    method(Run(context, spec, Results(context)))
