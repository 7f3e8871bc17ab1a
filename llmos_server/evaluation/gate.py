"""Whether a tuned model may take its base's place: an eval is run with both, and the paired difference decides.

For the code of a job, in whose thread it waits: the runs are jobs of their own, in their own lane of the queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import httpx2
import msgspec

from llmos_server.evaluation.metrics.bootstrap import Interval
from llmos_server.job_contracts import JobFailed, ServerAddress

POLL_SECONDS = 0.5
CONNECT_SECONDS = 10.0
MARK = "gate"
"""In a run's metadata: which gate made it, and of which model it is."""
MAX_RUNS = 100


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    promoted: bool
    reason: str
    """For people."""
    eval_id: str
    difference: Interval
    """Of the candidate's score minus the base's: the mean of the graders', item by item."""
    base_run: str
    candidate_run: str


class Gate(Protocol):
    def judge(self, base: str, candidate: str, look: Callable[[], None]) -> Verdict:
        """base, candidate: models' names, which answer already. look: called while it waits; what it raises ends the
        runs, and is passed on. Raises JobFailed where they can't be compared."""
        ...


class EvalGate:
    """Promotes what isn't worse: the interval of the difference begins no lower than `tolerance` below 0."""

    def __init__(self, server: ServerAddress, eval_id: str, tolerance: float, made_by: str) -> None:
        """tolerance: in the eval's own score. made_by: a job's id: when it is begun once more, its runs are found."""
        self._server = server
        self._eval_id = eval_id
        self._tolerance = tolerance
        self._made_by = made_by

    def judge(self, base: str, candidate: str, look: Callable[[], None]) -> Verdict:
        headers = {"Authorization": f"Bearer {self._server.key}"}
        timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
        with httpx2.Client(base_url=self._server.base_url, headers=headers, timeout=timeout) as http:
            return _Judging(http, self._eval_id, self._tolerance, self._made_by).judge(base, candidate, look)


class _Judging:
    def __init__(self, http: httpx2.Client, eval_id: str, tolerance: float, made_by: str) -> None:
        self._http = http
        self._path = f"/v1/evals/{eval_id}"
        self._eval_id = eval_id
        self._tolerance = tolerance
        self._made_by = made_by

    def judge(self, base: str, candidate: str, look: Callable[[], None]) -> Verdict:
        runs = list(self._runs())
        source = self._find_source(runs)
        before = self._find_measured(runs, source, base) or self._begin(runs, source, base, "base")
        after = self._begin(runs, source, candidate, "candidate")
        for run_id in (before, after):
            self._wait(run_id, (before, after), look)
        found = self._ask("GET", f"{self._path}/compare", params={"runs": f"{before},{after}"})
        names = [criterion["testing_criteria"] for criterion in found["criteria"]]
        score = found["criteria"][-1 if "score" in names else 1]
        difference = msgspec.convert(score["differences"][0], Interval)
        promoted = difference.low >= -self._tolerance
        return Verdict(
            promoted=promoted,
            reason=self._explain(difference, found["num_items"], promoted),
            eval_id=self._eval_id,
            difference=difference,
            base_run=before,
            candidate_run=after,
        )

    def _explain(self, difference: Interval, num_items: int, promoted: bool) -> str:
        told = (
            f"the score's difference to the base is {difference.mean:+.3f}, 95 % interval {difference.low:+.3f} to "
            f"{difference.high:+.3f}, over {num_items} items"
        )
        if promoted:
            return f"Not worse: {told}."
        what = "Worse" if difference.high < 0 else "Not shown to be no worse"
        return (
            f"{what}: {told}, and it may begin at {0 - self._tolerance:g} at the lowest. More items make it narrower; "
            "a tolerance lets more pass."
        )

    def _runs(self) -> Iterator[dict[str, Any]]:
        """The newest first."""
        yield from self._ask("GET", f"{self._path}/runs", params={"order": "desc", "limit": MAX_RUNS})["data"]

    def _find_source(self, runs: list[dict[str, Any]]) -> dict[str, Any]:
        """What models are asked: as in the eval's newest run of a model."""
        for run in runs:
            if run["model"]:
                source: dict[str, Any] = run["data_source"]
                return source
        raise JobFailed(
            f"The eval {self._eval_id} has no run of a model yet, so the gate doesn't know what to ask. Run it once "
            "with the base model.",
            code="gate_without_run",
            param="gate.eval_id",
        )

    def _find_measured(self, runs: list[dict[str, Any]], source: dict[str, Any], model: str) -> str | None:
        """A run that is done, with these very weights, by whatever name, and items; but this gate's own of the
        candidate, which is to be compared with it."""
        wanted = {**source, "model": model}
        digest = self._ask("GET", f"/v1/models/{model}").get("digest")
        for run in runs:
            if run["metadata"] == self._mark("candidate"):
                continue
            is_done = run["status"] == "completed" and digest is not None and run["model_digest"] == digest
            if is_done and {**run["data_source"], "model": model} == wanted:
                return str(run["id"])
        return None

    def _begin(self, runs: list[dict[str, Any]], source: dict[str, Any], model: str, part: str) -> str:
        mark = self._mark(part)
        for run in runs:
            if run["metadata"] == mark and run["status"] in ("queued", "in_progress", "completed"):
                return str(run["id"])
        body = {"name": f"{part} of {self._made_by}"[:200], "metadata": mark, "data_source": {**source, "model": model}}
        return str(self._ask("POST", f"{self._path}/runs", json=body)["id"])

    def _mark(self, part: str) -> dict[str, str]:
        """The metadata of this gate's own runs."""
        return {MARK: self._made_by, "part": part}

    def _wait(self, run_id: str, all_runs: tuple[str, str], look: Callable[[], None]) -> None:
        while True:
            run = self._ask("GET", f"{self._path}/runs/{run_id}")
            if run["status"] == "completed":
                return
            if run["status"] not in ("queued", "in_progress"):
                error = run["error"] or {"message": "it was cancelled"}
                raise JobFailed(
                    f"The gate's run {run_id} of {run['model']} ended as {run['status']}: {error['message']}",
                    code="gate_failed",
                    param="gate.eval_id",
                )
            try:
                look()
            except BaseException:
                self._cancel(all_runs)
                raise
            time.sleep(POLL_SECONDS)

    def _cancel(self, run_ids: tuple[str, str]) -> None:
        for run_id in run_ids:
            self._http.post(f"{self._path}/runs/{run_id}")

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        reply = self._http.request(method, path, **options)
        answer: dict[str, Any] = reply.json()
        if not reply.is_success:
            raise JobFailed(
                f"The gate can't be judged: {answer['error']['message']}", code="gate_failed", param="gate.eval_id"
            )
        return answer
