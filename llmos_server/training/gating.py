"""Whether a run's result takes its name: an eval decides, where the run's spec names one. Torch-free."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from llmos_server.evaluation.gate import EvalGate, Gate
from llmos_server.job_contracts import JobContext, JobFailed
from llmos_server.training.spec import GateVerdict, TuneSpec

GateMaker = Callable[[JobContext, TuneSpec], Gate]


def make_gate(context: JobContext, spec: TuneSpec) -> Gate:
    assert spec.gate is not None
    return EvalGate(context.server, spec.gate.eval_id, spec.gate.tolerance, context.job.id)


def pass_gate(
    context: JobContext, spec: TuneSpec, base: str, candidate: str, make: GateMaker = make_gate
) -> GateVerdict | None:
    """candidate: the name of the last checkpoint, which answers already, and goes on to where the gate stays shut. None
    where the spec names no gate. Raises JobFailed where the candidate isn't promoted, and what context.check()
    raises."""
    if spec.gate is None:
        return None
    verdict = make(context, spec).judge(base, candidate, context.check)
    told = GateVerdict(
        promoted=verdict.promoted,
        reason=verdict.reason,
        eval_id=verdict.eval_id,
        base_run=verdict.base_run,
        candidate_run=verdict.candidate_run,
    )
    context.log(verdict.reason, "info" if verdict.promoted else "warn", msgspec.to_builtins(told))
    if not verdict.promoted:
        raise JobFailed(
            f"The result wasn't promoted by the eval {verdict.eval_id}. {verdict.reason} {candidate} answers, as each "
            "checkpoint does.",
            code="gate_not_passed",
            param="gate",
        )
    return told
