"""All that is known of one adapter: what it changes, what answers by it, and what its training told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from llmos_server.adapter_contracts import ADAPTER_SPEC, AdapterSpec, AdapterVersion
from llmos_server.api.schemas.admin_adapters import AdapterContent, AdapterDetails, AdapterInfo, AdapterTraining
from llmos_server.job_contracts import Job
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.store import Store
from llmos_server.training.spec import TuneResult, TuneSpec

MAX_EVENTS = 100
"""Of a job, from its end, among which what was verified is looked for."""


async def read_details(store: Store, adapter: AdapterVersion, described: AdapterInfo) -> AdapterDetails:
    """described: with what its engine has of it."""
    return AdapterDetails(
        adapter=described,
        content=await asyncio.to_thread(_read_content, Path(adapter.folder)),
        training=await _read_training(store, adapter),
        aliases=[one.alias for one in await store.promotions.list() if one.digest == adapter.digest],
    )


def _read_content(folder: Path) -> AdapterContent:
    """Empty where its files are gone."""
    try:
        spec = msgspec.json.decode((folder / ADAPTER_SPEC).read_bytes(), type=AdapterSpec)
        files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    except (OSError, msgspec.MsgspecError):
        return AdapterContent(folder=str(folder), files={}, targets=[], num_modules=0, scales=[])
    return AdapterContent(
        folder=str(folder),
        files=files,
        targets=sorted({name.rpartition(".")[2] for name in spec.scales}),
        num_modules=len(spec.scales),
        scales=sorted(set(spec.scales.values())),
    )


async def _read_training(store: Store, adapter: AdapterVersion) -> AdapterTraining | None:
    """None where no job made it, or its job is gone."""
    job = await store.jobs.get(EVERYBODY, adapter.job_id, "tune") if adapter.job_id else None
    if job is None or job.result is None:
        return None
    spec, result = msgspec.json.decode(job.payload, type=TuneSpec), msgspec.json.decode(job.result, type=TuneResult)
    metrics = [one.metrics for one in result.checkpoints if one.model == adapter.name]
    if not metrics and result.model == adapter.name:
        metrics = [one.metrics for one in result.checkpoints[-1:]]
    return AdapterTraining(
        job_id=job.id,
        method=spec.method,
        num_examples=result.num_examples,
        total_steps=result.total_steps,
        trained_tokens=result.trained_tokens,
        metrics=dict(metrics[0]) if metrics else {},
        verified=await _verified(store, job) if result.model == adapter.name else "",
        gate="" if result.verdict is None else result.verdict.reason,
    )


async def _verified(store: Store, job: Job) -> str:
    events = await store.job_events.list(EVERYBODY, job.id, limit=MAX_EVENTS, order="desc", type="message")
    return next((event.message for event in events if event.message.startswith("The engine computes")), "")
