"""One request of a batch: asked as clients ask, and again where waiting may help."""

from __future__ import annotations

import asyncio
import uuid

import httpx2
import msgspec

from llmos_server.batches.input_lines import LineRequest
from llmos_server.batches.journal import Answer, Failure, Response
from llmos_server.job_contracts import JobFailed, ServerAddress

CONNECT_SECONDS = 10.0
MAX_WAIT = 30.0
MAX_BROKEN = 5
"""Times that a connection may break, or an engine die, under one request; then it has failed."""
WAIT_CODES = ("engine_busy", "queue_full", "rate_limit_exceeded", "database_unavailable")
"""The server would take it later, whatever the request is."""


class _Detail(msgspec.Struct):
    code: str | None = None
    message: str = ""


class _Refusal(msgspec.Struct):
    error: _Detail


def create_client(server: ServerAddress, num_connections: int) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        base_url=server.base_url,
        headers={"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"},
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=num_connections, max_keepalive_connections=num_connections),
        trust_env=False,
    )


async def ask(client: httpx2.AsyncClient, endpoint: str, request: LineRequest) -> Answer:
    """Raises JobFailed when the server takes no request of this batch any more."""
    num_broken = 0
    while True:
        try:
            reply = await client.post(endpoint, content=request.body)
        except httpx2.TransportError as error:
            num_broken += 1
            if num_broken >= MAX_BROKEN:
                failure = Failure("connection_error", f"The connection broke {num_broken} times: {error!r}")
                return Answer(id=_new_id(), custom_id=request.custom_id, error=failure)
            await asyncio.sleep(num_broken)
            continue
        refusal = None if reply.status_code < 400 else _read_refusal(reply.content)
        if reply.status_code == 401:
            raise JobFailed("The key of this batch was revoked; what was answered before is kept.", code="key_revoked")
        code = refusal.code if refusal is not None else None
        num_broken += code == "engine_failed"
        if code in WAIT_CODES or (code == "engine_failed" and num_broken < MAX_BROKEN):
            await asyncio.sleep(_retry_after(reply))
            continue
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


def _read_refusal(content: bytes) -> _Detail | None:
    try:
        return msgspec.json.decode(content, type=_Refusal).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _retry_after(reply: httpx2.Response) -> float:
    told = reply.headers.get("retry-after", "")
    return min(float(told), MAX_WAIT) if told.isascii() and told.isdigit() else 1.0
