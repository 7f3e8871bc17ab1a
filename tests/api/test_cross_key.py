"""What one key has stored is a 404 for every other: on each route, table-driven, and no route may be missing."""

from __future__ import annotations

import re
import zlib
from typing import Any

import pytest
from job_fakes import make_job
from stored_api import HELLO, open_stored_api

from llmos_server.batches.spec import BatchSpec
from llmos_server.store.eval_items import StoredItem, adding_items
from llmos_server.store.eval_runs import StoredRun, ending_run
from llmos_server.training.spec import TuneSpec

RESPONSE, ITEM = f"resp_{'ab' * 16}", f"msg_{'ab' * 16}0001"

FEEDBACK = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "answer": "Hello", "rating": 1}

GIVEN = {"type": "jsonl", "source": {"type": "file_content", "content": [{"item": {}}]}}

ROUTES: dict[tuple[str, str], Any] = {
    ("GET", "/v1/responses/{response_id}"): None,
    ("DELETE", "/v1/responses/{response_id}"): None,
    ("POST", "/v1/responses/{response_id}/cancel"): None,
    ("GET", "/v1/responses/{response_id}/input_items"): None,
    ("GET", "/v1/conversations/{conversation_id}"): None,
    ("POST", "/v1/conversations/{conversation_id}"): {"metadata": {}},
    ("DELETE", "/v1/conversations/{conversation_id}"): None,
    ("GET", "/v1/conversations/{conversation_id}/items"): None,
    ("POST", "/v1/conversations/{conversation_id}/items"): {"items": [HELLO]},
    ("GET", "/v1/conversations/{conversation_id}/items/{item_id}"): None,
    ("DELETE", "/v1/conversations/{conversation_id}/items/{item_id}"): None,
    ("GET", "/v1/usage/{request_id}"): None,
    ("GET", "/v1/llmos/feedback/{feedback_id}"): None,
    ("DELETE", "/v1/llmos/feedback/{feedback_id}"): None,
    ("GET", "/v1/files/{file_id}"): None,
    ("GET", "/v1/files/{file_id}/content"): None,
    ("DELETE", "/v1/files/{file_id}"): None,
    ("GET", "/v1/batches/{batch_id}"): None,
    ("POST", "/v1/batches/{batch_id}/cancel"): None,
    ("GET", "/v1/fine_tuning/jobs/{job_id}"): None,
    ("POST", "/v1/fine_tuning/jobs/{job_id}/cancel"): None,
    ("POST", "/v1/fine_tuning/jobs/{job_id}/pause"): None,
    ("POST", "/v1/fine_tuning/jobs/{job_id}/resume"): None,
    ("GET", "/v1/fine_tuning/jobs/{job_id}/events"): None,
    ("GET", "/v1/fine_tuning/jobs/{job_id}/checkpoints"): None,
    ("GET", "/v1/evals/{eval_id}"): None,
    ("POST", "/v1/evals/{eval_id}"): {"name": "x"},
    ("DELETE", "/v1/evals/{eval_id}"): None,
    ("GET", "/v1/evals/{eval_id}/compare"): None,
    ("GET", "/v1/evals/{eval_id}/report"): None,
    ("GET", "/v1/evals/{eval_id}/runs"): None,
    ("POST", "/v1/evals/{eval_id}/runs"): {"data_source": GIVEN},
    ("GET", "/v1/evals/{eval_id}/runs/{run_id}"): None,
    ("POST", "/v1/evals/{eval_id}/runs/{run_id}"): None,
    ("POST", "/v1/evals/{eval_id}/runs/{run_id}/cancel"): None,
    ("DELETE", "/v1/evals/{eval_id}/runs/{run_id}"): None,
    ("GET", "/v1/evals/{eval_id}/runs/{run_id}/report"): None,
    ("GET", "/v1/evals/{eval_id}/runs/{run_id}/output_items"): None,
    ("GET", "/v1/evals/{eval_id}/runs/{run_id}/output_items/{output_item_id}"): None,
}
"""With a body that its owner could send."""

QUERIES = {
    "/v1/evals/{eval_id}/compare": "?runs={run_id},{other_run_id}",
    "/v1/evals/{eval_id}/report": "?runs={run_id}",
}
"""What a route needs beside its path."""

REFERENCES: dict[tuple[str, str], int] = {
    (path, field): status
    for path in ("/v1/responses", "/v1/responses/input_tokens")
    for field, status in (("previous_response_id", 400), ("conversation", 404), ("input", 404))
}
"""Fields of bodies that name what is stored; and what is answered where there is no such thing. OpenAI has a 400 of its
own for an unknown previous_response_id."""

OF_NOBODY = {"model_id", "name", "plugin", "path", "key", "rest"}
"""Parameters of paths that name models, skills, plugins and keys: they belong to the server."""


@pytest.fixture
async def server(make_api, tmp_path):
    async with open_stored_api(make_api, tmp_path) as opened:
        yield opened


async def fill(server: Any) -> dict[str, str]:
    """One of everything, of key a; the values of paths' parameters."""
    owner = server.owner("a")
    response = {"id": RESPONSE, "object": "response", "status": "completed", "background": True, "output": []}
    await server.store.responses.save(owner, response, [{**HELLO, "id": ITEM}])
    made = await server.store.conversations.create(owner, {}, [{**HELLO, "id": ITEM}])
    given = await server.store.feedback.add(owner, "tiny", 1, FEEDBACK)
    await server.store.usage.write([usage_row(owner)])
    file = await server.http().post("/v1/files", files={"file": ("a.txt", b"a")}, data={"purpose": "user_data"})
    batch = BatchSpec(endpoint="/v1/chat/completions", input_file_id=file.json()["id"], expires=2**42)
    await server.store.jobs.add(make_job("batch_1", "batch", batch, owner=owner))
    pausing = {"status": "running", "wish": "pause"}  # Such a one can be cancelled, paused and resumed.
    tuning = TuneSpec(method="sft", model="tiny")
    await server.store.jobs.add(make_job("ftjob-1", "tune", tuning, owner=owner, **pausing))
    return {
        "batch_id": "batch_1",
        "job_id": "ftjob-1",
        **await fill_evals(server.store, owner),
        "response_id": RESPONSE,
        "conversation_id": made.id,
        "item_id": ITEM,
        "request_id": "req_of_a",
        "feedback_id": given.id,
        "file_id": file.json()["id"],
    }


async def fill_evals(store: Any, owner: str) -> dict[str, str]:
    """Two runs that are completed."""
    grader = {"type": "string_check", "name": "g", "operation": "eq", "input": "a", "reference": "a"}
    config = {"type": "custom", "schema": {"type": "object", "properties": {}}}
    content = {"data_source_config": config, "testing_criteria": [grader], "metadata": {}}
    made = await store.evals.add(owner, "Eval", content)
    result = {"result_counts": {}, "per_testing_criteria_results": [], "per_model_usage": []}
    graded = [{"name": "g", "type": "string_check", "score": 1.0, "passed": True, "sample": None}]
    answered = {"datasource_item": {}, "sample": {"output": []}, "results": graded, "usage": []}
    for run_id in (f"evalrun_{'a' * 32}", f"evalrun_{'b' * 32}"):
        values = {"id": run_id, "eval_id": made.id, "name": "r", "model": "", "created": 1}
        run = StoredRun(owner=owner, content={"data_source": GIVEN, "metadata": {}}, **values)
        await store.eval_runs.add(run, make_job(run_id, "eval", owner=owner))
        async with store.database.write() as connection:
            await adding_items(owner, [StoredItem(run_id=run_id, position=0, status="pass", content=answered)])(
                connection
            )
            await ending_run(owner, run_id, result)(connection)
    ids = {"run_id": f"evalrun_{'a' * 32}", "other_run_id": f"evalrun_{'b' * 32}"}
    return {"eval_id": made.id, "output_item_id": f"outputitem_{'a' * 32}_0", **ids}


def usage_row(owner: str) -> Any:
    from llmos_server.key_contracts import UsageRow

    return UsageRow(
        owner=owner,
        request_id="req_of_a",
        model="tiny",
        endpoint="/",
        prompt_tokens=1,
        completion_tokens=1,
        seconds=1.0,
        status="stop",
    )


@pytest.mark.parametrize(("method", "path"), list(ROUTES))
async def test_another_key_gets_a_404(server, method, path):
    ids = await fill(server)
    query, body = QUERIES.get(path, ""), ROUTES[method, path]
    url = (path + query).format(**ids)
    refused = await server.call(method, url, body, name="b")
    assert refused.status_code == 404, refused.text
    nothing = (path + query).format_map(dict.fromkeys(ids, "none"))
    unknown = await server.call(method, nothing, body, name="b")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == refused.json()["error"]["code"]
    allowed = await server.call(method, url, body, name="a")
    assert allowed.status_code in (200, 201), allowed.text


@pytest.mark.parametrize(("path", "field"), list(REFERENCES))
async def test_another_keys_id_in_a_body_is_as_good_as_none(server, path, field):
    ids = await fill(server)
    name = {"previous_response_id": "response_id", "conversation": "conversation_id", "input": "item_id"}[field]

    def body(value: str) -> dict[str, Any]:
        input = [HELLO, {"type": "item_reference", "id": value}] if field == "input" else "Hi"
        return {"model": "tiny", "input": input, **({} if field == "input" else {field: value})}

    refused = await server.call("POST", path, body(ids[name]), name="b")
    unknown = await server.call("POST", path, body("none_such"), name="b")
    assert refused.status_code == unknown.status_code == REFERENCES[path, field], refused.text
    assert refused.json()["error"]["message"].replace(ids[name], "none_such") == unknown.json()["error"]["message"]
    allowed = await server.call("POST", path, body(ids[name]), name="a")
    assert allowed.status_code == 200, allowed.text


@pytest.mark.parametrize("path", ["/v1/conversations", "/v1/llmos/feedback", "/v1/evals"])
async def test_lists_hold_ones_own_alone(server, path):
    await fill(server)
    assert len((await server.call("GET", path, name="a")).json()["data"]) == 1
    assert (await server.call("GET", path, name="b")).json()["data"] == []
    [first] = (await server.call("GET", path, name="a")).json()["data"]
    stolen = await server.call("GET", f"{path}?after={first['id']}", name="b")
    unknown = await server.call("GET", f"{path}?after=none", name="b")
    assert (stolen.status_code, unknown.status_code) == (400, 400)
    assert stolen.json()["error"]["message"].replace(first["id"], "none") == unknown.json()["error"]["message"]


async def test_another_keys_events_are_not_told_again(server):
    unfinished = {"id": "resp_told", "object": "response", "status": "in_progress", "background": True, "output": []}
    await server.store.responses.save(server.owner("a"), unfinished, [])
    done = {**unfinished, "status": "completed"}
    assert await server.store.responses.replace_unfinished(server.owner("a"), done, zlib.compress(b"event: x\n\n"))
    url = "/v1/responses/resp_told?stream=true"
    assert (await server.call("GET", url, name="a")).text.startswith("event: x\n\nevent: response.completed\n")
    refused = await server.call("GET", url, name="b")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "response_not_found")


async def test_no_route_is_missing(server):
    """One that has a parameter in its path is in the table, or is of nobody; administrators' are theirs."""
    found = set()
    for route in server.api.app.routes:
        path = re.sub(r"\{(\w+)(:\w+)?\}", r"{\1}", route.path)
        if set(re.findall(r"\{(\w+)\}", path)) - OF_NOBODY and not path.startswith("/admin/"):
            found |= {(method, path) for method in route.methods if method not in ("OPTIONS", "HEAD")}
    assert found == set(ROUTES)


async def test_no_field_is_missing(server):
    """Of any body that can name what is stored."""
    found = set()
    for route in server.api.app.routes:
        for handler in getattr(route, "route_handlers", ()):
            table = getattr(getattr(handler, "dto", None), "table", None) or {}
            names = {name for name in ("previous_response_id", "conversation") if name in table}
            if "item_reference" in (getattr(table.get("input"), "by_type", None) or {}):
                names.add("input")
            found |= {(route.path, name) for name in names if table[name].status.value == "honoured"}
    assert found == set(REFERENCES)
