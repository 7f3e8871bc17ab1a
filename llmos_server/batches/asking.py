"""One request of a batch: asked as clients ask, and again where waiting may help."""

from __future__ import annotations

import uuid

import httpx2
import msgspec

from llmos_server.batches.input_lines import LineRequest
from llmos_server.batches.journal import Answer, Failure, Response
from llmos_server.job_client import Unreachable, post
from llmos_server.job_contracts import JobFailed


async def ask(client: httpx2.AsyncClient, endpoint: str, request: LineRequest) -> Answer:
    """Raises JobFailed when the server takes no request of this batch any more."""
    try:
        reply = await post(client, endpoint, request.body)
    except Unreachable as error:
        failure = Failure("connection_error", str(error))
        return Answer(id=_new_id(), custom_id=request.custom_id, error=failure)
    if reply.status_code == 401:
        raise JobFailed("The key of this batch was revoked; what was answered before is kept.", code="key_revoked")
    return Answer(id=_new_id(), custom_id=request.custom_id, response=_to_response(reply))


def _new_id() -> str:
    return f"batch_req_{uuid.uuid4().hex}"


def _to_response(reply: httpx2.Response) -> Response:
    """In one line, whatever the server's JSON looks like."""
    try:
        body = reply.content if b"\n" not in reply.content else msgspec.json.encode(msgspec.json.decode(reply.content))
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError:
        body = msgspec.json.encode(reply.text)
    return Response(reply.status_code, reply.headers.get("x-request-id"), msgspec.Raw(body))
