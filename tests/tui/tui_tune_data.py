"""Tuning runs, adapters, evals and their runs, as the server tells them."""

from __future__ import annotations

from math import exp
from typing import Any

import tui_data
from tui_fake_server import FakeServer, Stream

from llmos_server.api.schemas.admin_adapters import AdapterInfo, AdapterList
from llmos_server.api.schemas.admin_jobs import JobDetails, JobInfo, JobList

NOW = tui_data.NOW
BASE = "smollm2:135m"


def job(id: str, **changes: Any) -> JobInfo:
    facts = {"kind": "tune", "title": f"{BASE}:{id}", "state": "done", "created": NOW - 400, "started": NOW - 390}
    return JobInfo(id=id, **{**facts, **changes})


JOBS = [
    job("ftjob-3", state="running", progress=0.4, detail="epoch 1 of 3, 212 tokens/s", can_pause=True),
    job("ftjob-2", ended=NOW - 200, progress=1.0),
    job("ftjob-1", ended=NOW - 300, progress=1.0),
    job("ftjob-0", state="failed", ended=NOW - 350, error="The loss is not a number."),
    job("job-9", kind="pull", title="hf:org/big"),
]


def loss(scale: float, steps: int) -> list[tuple[float, float]]:
    return [(float(step), 0.5 + scale * exp(-step / 40)) for step in range(1, steps + 1)]


def details(row: JobInfo, **more: Any) -> JobDetails:
    return JobDetails(**{**{name: getattr(row, name) for name in row.__struct_fields__}, **more})


def run(row: JobInfo, **changes: Any) -> dict[str, Any]:
    """As /v1/fine_tuning/jobs tells it; the fields that are drawn."""
    facts = {
        "id": row.id,
        "model": BASE,
        "fine_tuned_model": row.title if row.state == "done" else None,
        "training_file": "file-1",
        "method": {"type": "supervised"},
        "recipe": "sft_lora",
        "status": "succeeded" if row.state == "done" else row.state,
        "num_examples": 200,
        "total_steps": 75,
        "values": {"lora_r": 16},
    }
    return {**facts, **changes}


def adapter(row: JobInfo, **changes: Any) -> AdapterInfo:
    facts = {"name": row.title, "base": BASE, "owner": "key-1", "is_shared": False, "digest": "sha256:0"}
    loaded = {"is_loaded": False, "loaded_bytes": 0, "last_used": None}
    made = {"rank": 16, "num_bytes": 9_400_000, "job_id": row.id, "created": 1}
    return AdapterInfo(**{**facts, **made, **loaded, **changes})


EVAL = {"id": "eval_1", "name": "tidy JSON", "created_at": int(NOW) - 900, "testing_criteria": [{"name": "format"}]}
OTHER_EVAL = {"id": "eval_0", "name": "capitals", "created_at": int(NOW) - 950, "testing_criteria": [{"name": "right"}]}


def eval_run(id: str, model: str, passed: int, **changes: Any) -> dict[str, Any]:
    facts = {
        "id": id,
        "eval_id": "eval_1",
        "status": "completed",
        "model": model,
        "name": model,
        "created_at": int(NOW) - 800,
        "result_counts": {"total": 50, "passed": passed, "failed": 50 - passed, "errored": 0},
        "per_testing_criteria_results": [{"testing_criteria": "format", "mean_score": passed / 50}],
        "data_source": {"type": "completions", "model": model, "source": {"type": "file_id", "id": "file-2"}},
        "progress": 1.0,
    }
    return {**facts, **changes}


EVAL_RUNS = [
    eval_run("evalrun_2", f"{BASE}:ftjob-2", 41),
    eval_run("evalrun_1", BASE, 12),
    eval_run("evalrun_3", f"{BASE}:ftjob-1", 0, status="in_progress", progress=0.3),
]


def interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}


COMPARISON = {
    "runs": [EVAL_RUNS[1], EVAL_RUNS[0]],
    "num_items": 50,
    "num_left_out": 0,
    "criteria": [
        {"testing_criteria": "passed", "means": [interval(0.24), interval(0.82)], "differences": [interval(0.58)]},
        {"testing_criteria": "format", "means": [interval(0.3), interval(0.31)], "differences": [interval(0.01)]},
    ],
}


def tell(server: FakeServer) -> Stream:
    """All of it; the stream of jobs."""
    curves = {"ftjob-3": loss(2.0, 30), "ftjob-2": loss(2.4, 75), "ftjob-1": loss(1.6, 75)}
    for row in JOBS:
        metrics = {"loss": curves[row.id], "eval_loss": curves[row.id][::10]} if row.id in curves else {}
        told = details(row, log=["looking at the examples", "training"], metrics=metrics)
        server.stream("GET", f"/admin/v1/jobs/{row.id}", ("job", told))
    verdict = {"promoted": False, "reason": "It did worse on tidy JSON."}
    runs = [run(JOBS[0]), run(JOBS[1]), run(JOBS[2], fine_tuned_model=None, verdict=verdict), run(JOBS[3])]
    server.on("GET", "/v1/fine_tuning/jobs", {"data": runs, "has_more": False})
    server.on("GET", "/admin/v1/adapters", AdapterList(data=[adapter(JOBS[1])]))
    server.on("GET", "/v1/evals", {"data": [EVAL, OTHER_EVAL], "has_more": False})
    server.on("GET", "/v1/evals/eval_1/runs", {"data": EVAL_RUNS, "has_more": False})
    server.on("GET", "/v1/evals/eval_0/runs", {"data": [], "has_more": False})
    server.on("GET", "/v1/evals/eval_1/compare", COMPARISON)
    return server.stream("GET", "/admin/v1/jobs", ("jobs", JobList(data=JOBS)))
