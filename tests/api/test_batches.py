"""/v1/batches by the stock SDK, over a database; what the jobs themselves do is in tests/batches."""

from __future__ import annotations

from typing import Any

import msgspec
import openai
import pytest
from stored_api import open_stored_api

from llmos_server.batches.spec import BatchState, LineError, Tokens
from llmos_server.job_contracts import JobError
from llmos_server.store.job_leases import Hold, hold_of

ENDPOINT = "/v1/chat/completions"
LINES = b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {}}\n'


@pytest.fixture
async def server(make_api, tmp_path):
    async with open_stored_api(make_api, tmp_path) as opened:
        yield opened


async def upload(server: Any, purpose: str = "batch", name: str = "a") -> str:
    return (await server.sdk(name).files.create(file=("in.jsonl", LINES), purpose=purpose)).id


async def make(server: Any, **fields: Any) -> Any:
    given = {"input_file_id": await upload(server), "endpoint": ENDPOINT, "completion_window": "24h", **fields}
    return await server.sdk().batches.create(**given)


async def claim(server: Any) -> Hold:
    claimed = await server.store.job_leases.claim("s", ["batch"], 10**13, 1000)
    return hold_of(claimed)


async def test_what_is_made(server, tmp_path) -> None:
    sdk = server.sdk()
    made = await make(server, metadata={"for": "tests"}, output_expires_after={"anchor": "created_at", "seconds": 3600})
    assert (made.object, made.status, made.endpoint, made.completion_window) == ("batch", "validating", ENDPOINT, "24h")
    assert (made.metadata, made.expires_at - made.created_at) == ({"for": "tests"}, 86_400)
    assert (made.errors, made.model, made.output_file_id, made.in_progress_at) == (None, None, None, None)
    assert await sdk.batches.retrieve(made.id) == made
    await sdk.files.delete(made.input_file_id)
    assert (tmp_path / "jobs" / made.id / "input.jsonl").read_bytes() == LINES


async def test_pages(server) -> None:
    made = {(await make(server)).id for _ in range(3)}
    listed = [batch.id async for batch in server.sdk().batches.list(limit=1)]
    assert len(listed) == 3
    assert set(listed) == made


async def test_another_key_sees_none_of_it(server) -> None:
    made, other = await make(server), server.sdk("b")
    assert (await other.batches.list()).data == []
    for ask in (other.batches.retrieve, other.batches.cancel):
        with pytest.raises(openai.NotFoundError, match="No batch of yours"):
            await ask(made.id)
    with pytest.raises(openai.NotFoundError, match="No file of yours"):
        await other.batches.create(input_file_id=made.input_file_id, endpoint=ENDPOINT, completion_window="24h")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"endpoint": "/v1/images/generations"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {"x" * 65: "y"}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 5}}, "output_expires_after.seconds"),
    ],
)
async def test_what_cannot_be_meant_is_refused(server, tmp_path, fields, param) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await make(server, **fields)
    assert refused.value.param.startswith(param)
    assert not (tmp_path / "jobs").exists()


async def test_only_a_file_for_batches_will_do(server) -> None:
    with pytest.raises(openai.BadRequestError, match="with the purpose batch"):
        await make(server, input_file_id=await upload(server, "user_data"))


async def test_what_a_batch_tells_while_it_runs_and_at_its_end(server) -> None:
    sdk, leases = server.sdk(), server.store.job_leases
    made = await make(server)
    hold = await claim(server)
    assert (await sdk.batches.retrieve(made.id)).status == "validating"
    state = BatchState(total=3, completed=1, tokens=Tokens(5, 1, 2, 1), model="tiny", in_progress=5000)
    await leases.write(hold, {"result": msgspec.json.encode(state)})
    now = await sdk.batches.retrieve(made.id)
    assert (now.status, now.in_progress_at, now.model) == ("in_progress", 5, "tiny")
    assert (now.request_counts.total, now.request_counts.completed, now.usage.total_tokens) == (3, 1, 7)
    assert (await sdk.batches.cancel(made.id)).status == "cancelling"
    state = msgspec.structs.replace(state, cancelling=6000, output_file_id="file-x")
    await leases.write(hold, {"result": msgspec.json.encode(state)})
    await leases.give_back(hold, "cancelled", 7000, None)
    ended = await sdk.batches.cancel(made.id)
    assert (ended.status, ended.cancelled_at, ended.cancelling_at, ended.output_file_id) == (
        "cancelled",
        7,
        6,
        "file-x",
    )


async def test_a_batch_that_failed_tells_the_lines(server) -> None:
    made = await make(server)
    hold = await claim(server)
    wrong = LineError(code="invalid_json_line", message="no JSON", line=4)
    values = {"result": msgspec.json.encode(BatchState(errors=[wrong]))}
    await server.store.job_leases.fail(hold, JobError("invalid_input", "line 4"), 9000, values=values)
    failed = await server.sdk().batches.retrieve(made.id)
    assert (failed.status, failed.failed_at, failed.errors.object) == ("failed", 9, "list")
    assert [(one.code, one.line, one.message) for one in failed.errors.data] == [("invalid_json_line", 4, "no JSON")]
    with pytest.raises(openai.BadRequestError, match="has ended: it is failed"):
        await server.sdk().batches.cancel(made.id)


async def test_a_batch_that_failed_for_another_reason_tells_that(server) -> None:
    made = await make(server)
    await server.store.job_leases.fail(await claim(server), JobError("disk_full", "The disk is full."), 9000)
    failed = await server.sdk().batches.retrieve(made.id)
    assert [(one.code, one.line) for one in failed.errors.data] == [("disk_full", None)]
