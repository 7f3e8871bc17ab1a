"""Reports of runs, as a page or as Markdown: /v1/evals/{eval_id}/runs/{run_id}/report, and of several runs together."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from litestar import Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery

from llmos_server.api.evals.comparing import find_completed
from llmos_server.api.evals.describing import find_eval
from llmos_server.api.evals.evals import ERROR_SPECS, TAGS
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.services import store_of
from llmos_server.api.stored.query import check_names
from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.comparing import compare
from llmos_server.evaluation.report.figures import Report, RunReader
from llmos_server.evaluation.report.html import POLICY, write_html
from llmos_server.evaluation.report.markdown import write_markdown
from llmos_server.store.eval_runs import StoredRun
from llmos_server.store.evals import StoredEval

FORMATS = {
    "html": ("text/html", write_html),
    "markdown": ("text/markdown", write_markdown),
}
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
RESPONSES = {200: ResponseSpec(str, description="The report.", media_type="text/html"), **ERROR_SPECS}
HOW = "format: html (the default) or markdown."


@get(
    "/v1/evals/{eval_id:str}/runs/{run_id:str}/report",
    tags=TAGS,
    summary="A completed run's report",
    description=HOW,
    responses=RESPONSES,
)
async def get_run_report(
    request: AnyRequest, eval_id: FromPath[str], run_id: FromPath[str], format: FromQuery[str | None] = None
) -> Response[str]:
    check_names(request, ("format",))
    return await _report(request, eval_id, run_id, format or "html")


@get(
    "/v1/evals/{eval_id:str}/report",
    tags=TAGS,
    summary="A report of completed runs, side by side",
    description=f"runs: ids with commas between, over the same items; the first is the base. {HOW}",
    responses=RESPONSES,
)
async def get_report(
    request: AnyRequest,
    eval_id: FromPath[str],
    runs: FromQuery[str | None] = None,
    format: FromQuery[str | None] = None,
) -> Response[str]:
    check_names(request, ("runs", "format"))
    return await _report(request, eval_id, runs or "", format or "html")


async def _report(request: AnyRequest, eval_id: str, run_ids: str, form: str) -> Response[str]:
    if form not in FORMATS:
        raise InvalidRequest(f"format is one of {', '.join(FORMATS)}.", param="format")
    measured = await find_eval(request, eval_id)
    found = await find_completed(request, eval_id, run_ids, least=1)
    readers = [await _read(request, run) for run in found]
    media_type, write = FORMATS[form]
    text = await asyncio.to_thread(lambda: write(_create(measured, readers)))
    return Response(text, media_type=media_type, headers=HEADERS)


async def _read(request: AnyRequest, run: StoredRun) -> RunReader:
    digest = (run.result or {}).get("model_digest") or ""
    reader = RunReader(run.id, run.name, run.model, digest)
    await reader.read(store_of(request).eval_items.all(principal_of(request).key_id, run.id))
    return reader


def _create(measured: StoredEval, readers: list[RunReader]) -> Report:
    criteria = measured.content["testing_criteria"]
    runs = [reader.figures(criteria) for reader in readers]
    names = [criterion["name"] for criterion in criteria]
    return Report(
        title=measured.name,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        runs=runs,
        comparison=compare([run.graded for run in runs], names) if len(runs) > 1 else None,
    )


REPORT_HANDLERS = [get_run_report, get_report]
