"""Requests about evals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmos_tui.client import Client, in_path
from llmos_tui.wire.evals import Eval, EvalComparison, EvalList, EvalRun, EvalRunList

EVALS = "/v1/evals"
MOST = 100


async def list_evals(client: Client) -> EvalList:
    """Those of the key that this program uses, the newest first."""
    return await client.get(EVALS, EvalList, {"limit": MOST, "order": "desc"})


async def list_eval_runs(client: Client, measured: Eval) -> EvalRunList:
    """The newest first."""
    return await client.get(f"{EVALS}/{in_path(measured.id)}/runs", EvalRunList, {"limit": MOST, "order": "desc"})


async def create_eval_run(client: Client, eval_id: str, name: str, data_source: dict[str, Any]) -> EvalRun:
    body = {"name": name, "data_source": data_source}
    return await client.send("POST", f"{EVALS}/{in_path(eval_id)}/runs", EvalRun, body=body)


async def compare_eval_runs(client: Client, eval_id: str, runs: Sequence[str]) -> EvalComparison:
    """runs: ids; the first one is what others are compared with."""
    return await client.get(f"{EVALS}/{in_path(eval_id)}/compare", EvalComparison, {"runs": ",".join(runs)})
