"""Runs side by side, and the gate that decides by it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from llmos_server.evaluation.gate import EvalGate
from llmos_server.job_contracts import Cancelled, JobFailed, ServerAddress

COUNTRIES = ["France", "Italy", "Spain", "Peru"] * 5


def compare(evals: Any, eval_id: str, *run_ids: str) -> httpx2.Response:
    return httpx2.get(f"{evals.url}/v1/evals/{eval_id}/compare", params={"runs": ",".join(run_ids)})


def gate(evals: Any, eval_id: str, tolerance: float = 0.0) -> EvalGate:
    return EvalGate(ServerAddress(evals.url, "x"), eval_id, tolerance, "ftjob-1")


@contextmanager
def jobs_being_done(evals: Any, eval_id: str, before: Any) -> Iterator[list[str]]:
    """Runs as they come; before(run) is called first. Gives the models that were measured."""
    end, done, models = threading.Event(), set(), []

    def work() -> None:
        while not end.wait(0.05):
            for run in evals.client.evals.runs.list(eval_id, status="queued"):
                if run.id not in done:
                    done.add(run.id)
                    models.append(run.model)
                    before(run)
                    evals.do(run.id)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield models
    finally:
        end.set()
        thread.join(20)


def test_two_runs_are_compared_item_by_item(evals) -> None:
    made = evals.create()
    evals.answers |= {"Italy": "Milan", "Spain": "Barcelona"}
    first = evals.done(made.id, evals.source(COUNTRIES))
    evals.answers["Italy"] = "Rome"
    second = evals.done(made.id, evals.source(COUNTRIES))
    found = compare(evals, made.id, first.id, second.id).json()
    assert (found["num_items"], found["num_left_out"]) == (20, 0)
    assert [criterion["testing_criteria"] for criterion in found["criteria"]] == ["passed", "same"]
    passed = found["criteria"][0]
    assert [mean["mean"] for mean in passed["means"]] == [0.5, 0.75]
    [difference] = passed["differences"]
    assert difference["mean"] == 0.25
    assert 0 < difference["low"] < 0.25 < difference["high"] < 0.5
    assert [run["id"] for run in found["runs"]] == [first.id, second.id]


def test_what_can_not_be_compared_is_refused(evals) -> None:
    made = evals.create()
    first, other = evals.done(made.id), evals.done(made.id, evals.source(["Peru"]))
    queued = evals.begin(made.id)
    for runs, code in (
        ((first.id,), "invalid_value"),
        ((first.id, other.id), "different_items"),
        ((first.id, queued.id), "run_not_completed"),
        ((first.id, "evalrun_none"), "run_not_found"),
    ):
        assert compare(evals, made.id, *runs).json()["error"]["code"] == code


class TestGate:
    def test_what_is_not_worse_is_promoted_and_what_is_worse_is_not(self, evals) -> None:
        made = evals.create()
        evals.answers["Italy"] = "Milan"
        measured = evals.done(made.id, evals.source(COUNTRIES))
        evals.answers["Italy"] = "Rome"
        with jobs_being_done(evals, made.id, lambda run: None) as models:
            verdict = gate(evals, made.id).judge("tiny", "gpt-4o-mini", lambda: None)
        assert verdict.promoted
        assert "Not worse: the score's difference to the base is +0.250" in verdict.reason
        # The base had been measured with these very weights and items.
        assert (models, verdict.base_run) == (["gpt-4o-mini"], measured.id)
        assert gate(evals, made.id).judge("tiny", "gpt-4o-mini", lambda: None) == verdict

    def test_worse_is_kept_back_unless_it_is_tolerated(self, evals) -> None:
        made = evals.create()
        evals.done(made.id, evals.source(COUNTRIES))
        evals.answers["Italy"] = "Milan"
        with jobs_being_done(evals, made.id, lambda run: None):
            verdict = gate(evals, made.id).judge("tiny", "gpt-4o-mini", lambda: None)
            assert not verdict.promoted
            assert verdict.reason.startswith("Worse:")
            assert gate(evals, made.id, tolerance=0.6).judge("tiny", "gpt-4o-mini", lambda: None).promoted

    def test_an_eval_without_a_run_knows_no_items(self, evals) -> None:
        made = evals.create()
        with pytest.raises(JobFailed, match="Run it once with the base"):
            gate(evals, made.id).judge("tiny", "gpt-4o-mini", lambda: None)
        with pytest.raises(JobFailed, match="No eval of yours"):
            gate(evals, "eval_none").judge("tiny", "gpt-4o-mini", lambda: None)

    def test_whoever_waits_may_be_stopped(self, evals) -> None:
        made = evals.create()
        evals.done(made.id)
        end = time.monotonic() + 0.2

        def look() -> None:
            if time.monotonic() > end:
                raise Cancelled

        with pytest.raises(Cancelled):
            gate(evals, made.id).judge("tiny", "gpt-4o-mini", look)
        assert [run.status for run in evals.client.evals.runs.list(made.id)] == ["completed", "canceled"]
