"""One of everything that a key can own, for tests of who may see it."""

from __future__ import annotations

from typing import Any

from job_fakes import make_job
from stored_api import HELLO

from llmos_server.adapter_contracts import AdapterVersion
from llmos_server.batches.spec import BatchSpec
from llmos_server.key_contracts import UsageRow
from llmos_server.store.eval_items import StoredItem, adding_items
from llmos_server.store.eval_runs import StoredRun, ending_run
from llmos_server.training.spec import TuneSpec

FEEDBACK = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "answer": "Hello", "rating": 1}
CHAT = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}\n'
UPLOADS = {
    "file_id": ("user_data", b"a"),
    "batch_file": ("batch", b"{}\n"),
    "evals_file": ("evals", b'{"item": {}}\n'),
    "tune_file": ("fine-tune", CHAT * 3),
}
"""Purpose and content, by name."""

GIVEN = {"type": "jsonl", "source": {"type": "file_content", "content": [{"item": {}}]}}
"""What a run of an eval can measure."""


async def fill(server: Any, name: str = "a") -> dict[str, str]:
    """One of everything, of the key of that name in a StoredApi, a or b. Gives the ids, by the names of paths'
    parameters; files are there for each use, by names of their own."""
    store, owner = server.store, server.owner(name)
    files = {thing: await _upload(server, name, *upload) for thing, upload in UPLOADS.items()}
    item = {**HELLO, "id": f"msg_{name * 36}"}
    response_id, request_id = f"resp_{name * 32}", f"req_of_{name}"
    response = {"id": response_id, "object": "response", "status": "completed", "background": True, "output": []}
    await store.responses.save(owner, response, [item])
    await store.usage.write([_usage_row(owner, request_id)])
    return {
        **files,
        **await _add_jobs(store, owner, name, files["batch_file"]),
        **await _add_eval(store, owner, name),
        "response_id": response_id,
        "conversation_id": (await store.conversations.create(owner, {}, [item])).id,
        "item_id": item["id"],
        "request_id": request_id,
        "feedback_id": (await store.feedback.add(owner, "tiny", 1, FEEDBACK)).id,
        "model_id": await _add_adapter(store, owner, name),
    }


async def _upload(server: Any, name: str, purpose: str, content: bytes) -> str:
    form = {"files": {"file": ("a.jsonl", content)}, "data": {"purpose": purpose}}
    return str((await server.http(name).post("/v1/files", **form)).json()["id"])


async def _add_jobs(store: Any, owner: str, name: str, file_id: str) -> dict[str, str]:
    ids = {"batch_id": f"batch_{name}", "job_id": f"ftjob-{name}"}
    batch = BatchSpec(endpoint="/v1/chat/completions", input_file_id=file_id, expires=2**42)
    await store.jobs.add(make_job(ids["batch_id"], "batch", batch, owner=owner))
    pausing = {"status": "running", "wish": "pause"}  # Such a one can be cancelled, paused and resumed.
    await store.jobs.add(make_job(ids["job_id"], "tune", TuneSpec(method="sft", model="tiny"), owner=owner, **pausing))
    return ids


async def _add_eval(store: Any, owner: str, name: str) -> dict[str, str]:
    """With two runs that are completed."""
    grader = {"type": "string_check", "name": "g", "operation": "eq", "input": "a", "reference": "a"}
    config = {"type": "custom", "schema": {"type": "object", "properties": {}}}
    content = {"data_source_config": config, "testing_criteria": [grader], "metadata": {}}
    made = await store.evals.add(owner, "Eval", content)
    hexes = (f"1{name * 31}", f"2{name * 31}")
    result = {"result_counts": {}, "per_testing_criteria_results": [], "per_model_usage": []}
    graded = [{"name": "g", "type": "string_check", "score": 1.0, "passed": True, "sample": None}]
    answered = {"datasource_item": {}, "sample": {"output": []}, "results": graded, "usage": []}
    for run_id in (f"evalrun_{digits}" for digits in hexes):
        values = {"id": run_id, "eval_id": made.id, "name": "r", "model": "", "created": 1}
        run = StoredRun(owner=owner, content={"data_source": GIVEN, "metadata": {}}, **values)
        await store.eval_runs.add(run, make_job(run_id, "eval", owner=owner))
        async with store.database.write() as connection:
            item = StoredItem(run_id=run_id, position=0, status="pass", content=answered)
            await adding_items(owner, [item])(connection)
            await ending_run(owner, run_id, result)(connection)
    ids = {"run_id": f"evalrun_{hexes[0]}", "other_run_id": f"evalrun_{hexes[1]}"}
    return {"eval_id": made.id, "output_item_id": f"outputitem_{hexes[0]}_0", **ids}


async def _add_adapter(store: Any, owner: str, name: str) -> str:
    adapter = AdapterVersion(
        name=f"tiny:of-{name}",
        base="tiny",
        base_digest=f"sha256:{'0' * 64}",
        digest=f"sha256:{name * 64}",
        folder="",
        rank=8,
        num_bytes=9,
        owner=owner,
    )
    await store.adapters.register(adapter)
    return adapter.name


def _usage_row(owner: str, request_id: str) -> UsageRow:
    return UsageRow(
        owner=owner,
        request_id=request_id,
        model="tiny",
        endpoint="/",
        prompt_tokens=1,
        completion_tokens=1,
        seconds=1.0,
        status="stop",
    )
