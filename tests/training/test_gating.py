"""A gate decides whether a run's result takes its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from job_fakes import job_context

from llmos_server.evaluation.gate import Verdict
from llmos_server.evaluation.metrics.bootstrap import Interval
from llmos_server.job_contracts import JobFailed
from llmos_server.training.gating import pass_gate
from llmos_server.training.spec import EvalGate, TuneSpec

SPEC = TuneSpec(method="sft", model="m", gate=EvalGate(eval_id="eval_1"))


class ScriptedGate:
    def __init__(self, promoted: bool) -> None:
        self.promoted = promoted
        self.judged: list[tuple[str, str]] = []

    def judge(self, base: str, candidate: str, look: Any) -> Verdict:
        look()
        self.judged.append((base, candidate))
        return Verdict(
            promoted=self.promoted,
            reason="Not worse." if self.promoted else "Worse.",
            eval_id="eval_1",
            difference=Interval(mean=0.0, low=0.0, high=0.0),
            base_run="a",
            candidate_run="b",
        )


def test_what_is_no_worse_is_promoted(tmp_path: Path) -> None:
    with job_context(tmp_path, "tune", SPEC) as context:
        gate = ScriptedGate(promoted=True)
        verdict = pass_gate(context, SPEC, "m", "m:x-ckpt-step-3", lambda *_: gate)
        assert gate.judged == [("m", "m:x-ckpt-step-3")]
        assert verdict is not None
        assert (verdict.promoted, verdict.candidate_run) == (True, "b")
        assert pass_gate(context, TuneSpec(method="sft", model="m"), "m", "x") is None


def test_what_is_worse_ends_the_job_with_the_figures(tmp_path: Path) -> None:
    with job_context(tmp_path, "tune", SPEC) as context, pytest.raises(JobFailed) as caught:
        pass_gate(context, SPEC, "m", "m:x", lambda *_: ScriptedGate(promoted=False))
    assert caught.value.code == "gate_not_passed"
    assert "Worse." in str(caught.value)
    assert "m:x answers" in str(caught.value)
