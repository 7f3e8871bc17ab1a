"""From a request to a job that waits in the queue."""

from __future__ import annotations

import asyncio
import re
import secrets
import uuid
from pathlib import Path
from typing import Any

import msgspec

from llmos_server.api.evals.means import open_means
from llmos_server.api.fine_tuning.methods import RECIPES, choose_recipe, read_hyperparameters
from llmos_server.api.fine_tuning.order import Asked, Order
from llmos_server.api.fine_tuning.training_files import find_training_file
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import find_model, principal_of
from llmos_server.api.schemas.fine_tuning import CreateFineTuningJobRequest, Method
from llmos_server.api.served import ServedModel
from llmos_server.api.services import services_of, store_of
from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.graders.create import create_grader
from llmos_server.files.job_folders import JobFolders, keep
from llmos_server.job_contracts import Job
from llmos_server.store.objects import now_milliseconds, to_text
from llmos_server.training.four_bit_keys import require_four_bits
from llmos_server.training.methods.table import get_method
from llmos_server.training.served_as import require_allowed
from llmos_server.training.spec import EvalGate

TRAINING_FILE, VALIDATION_FILE = "training.jsonl", "validation.jsonl"
"""In the job's folder."""


async def create(request: AnyRequest, data: CreateFineTuningJobRequest) -> Job:
    """Raises InvalidRequest, NotFound, ModelNotFound, Forbidden, StorageFull, StoreUnavailable."""
    told = read_hyperparameters(data)
    recipe = choose_recipe(data, told, services_of(request).plugins)
    require_allowed(recipe.values, principal_of(request).key_id, has_gate=data.gate is not None)
    require_four_bits(recipe.values)
    grader = await read_grader(request, data.method)
    if data.gate is not None:
        await _require_eval(request, data.gate.eval_id)
    model = await find_base(request, data.model, recipe.method)
    number = uuid.uuid4().hex[:24]
    suffix = name_suffix(data.suffix, number)
    sources = {TRAINING_FILE: await find_training_file(request, data.training_file, recipe.method, "training_file")}
    if data.validation_file is not None:
        path = await find_training_file(request, data.validation_file, recipe.method, "validation_file")
        sources[VALIDATION_FILE] = path
    seed = secrets.randbelow(2**31) if data.seed is None else data.seed
    multiplier = told.learning_rate_multiplier
    order = Order(
        method=recipe.method,
        model=model.id,
        values={**recipe.values, "seed": seed},
        auto=tuple(sorted(recipe.auto)),
        learning_rate_multiplier=multiplier if isinstance(multiplier, float) else 1.0,
        training_file=TRAINING_FILE,
        validation_file=VALIDATION_FILE if VALIDATION_FILE in sources else "",
        suffix=suffix,
        too_long=data.too_long or "refuse",
        gate=None if data.gate is None else EvalGate(eval_id=data.gate.eval_id, tolerance=data.gate.tolerance),
        grader=grader,
        asked=Asked(
            hyperparameters=told,
            training_file=data.training_file,
            validation_file=data.validation_file,
            suffix=data.suffix,
            metadata=data.metadata,
            recipe=data.recipe or RECIPES["supervised" if data.method is None else data.method.type],
            set=data.set or {},
        ),
    )
    job = Job(
        id=f"ftjob-{number}",
        kind="tune",
        owner=principal_of(request).key_id,
        title=f"{model.id}:{suffix}",
        payload=to_text(order).encode(),
        created=now_milliseconds(),
    )
    await _add(request, job, sources)
    return job


async def _add(request: AnyRequest, job: Job, sources: dict[str, Path]) -> None:
    """With its files, which are there before the job is."""
    store = store_of(request)
    folders = JobFolders(store.database.home)

    def fill() -> None:
        folder = folders.make(job.id)
        for name, source in sources.items():
            keep(source, folder / name)

    try:
        await asyncio.to_thread(fill)
        await store.jobs.add(job)
    except BaseException:
        await asyncio.to_thread(folders.remove, job.id)
        raise


async def _require_eval(request: AnyRequest, eval_id: str) -> None:
    """Raises InvalidRequest for one that can be no gate."""
    store, owner = store_of(request), principal_of(request).key_id
    if await store.evals.get(owner, eval_id) is None:
        raise InvalidRequest(f"No eval of yours has the id {eval_id!r}.", param="gate.eval_id", code="eval_not_found")
    if not await store.eval_runs.ids(owner, eval_id):
        raise InvalidRequest(
            f"The eval {eval_id} has no run yet, so it doesn't say what to ask. Run it once with the base model.",
            param="gate.eval_id",
            code="gate_without_run",
        )


async def read_grader(request: AnyRequest, method: Method | None) -> dict[str, Any] | None:
    """Raises InvalidRequest for one that can't be run."""
    if method is None or method.reinforcement is None:
        return None
    spec = method.reinforcement.grader
    async with open_means(request) as means:
        create_grader(spec, means, "method.reinforcement.grader")
    described: dict[str, Any] = msgspec.to_builtins(spec)
    return described


async def find_base(request: AnyRequest, name: str, trainer: str) -> ServedModel:
    """Raises ModelNotFound, Forbidden, and InvalidRequest for a model that can't be tuned."""
    model = await find_model(request, name)
    if model.adapter is not None:
        raise InvalidRequest(
            f"{model.id} is an adapter, and a base is what is tuned here: name {model.adapter.base}, and train on all "
            "of the examples.",
            param="model",
            code="unsupported_value",
        )
    needs_chat = get_method(trainer).data in ("conversations", "preferences", "ratings", "prompts")
    if needs_chat and (model.kind != "decoder" or not model.has_template):
        raise InvalidRequest(
            f"{model.id} has no chat template, and chats are what the method learns from; take a chat model.",
            param="model",
            code="unsupported_value",
        )
    return model


def name_suffix(sent: str | None, number: str) -> str:
    """Names are told apart by the begin of the job's number. Raises InvalidRequest."""
    if sent is None:
        return f"ft-{number[:8]}"
    word = re.sub(r"[^A-Za-z0-9._]+", "-", sent).strip("-._")
    if not word:
        raise InvalidRequest("suffix needs at least one letter or digit of ASCII.", param="suffix")
    return f"{word}-{number[:4]}"
