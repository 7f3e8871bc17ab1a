"""What graders work with, in this process: models are asked as the request's own client would ask them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.services import services_of
from llmos_server.evaluation.asking import HttpModels
from llmos_server.evaluation.graders.create import Means
from llmos_server.sandbox.sandbox import Sandbox

CREDENTIALS = ("authorization", "x-api-key", "api-key")


@asynccontextmanager
async def open_means(request: AnyRequest) -> AsyncIterator[Means]:
    """Calls go through this very app, with the request's key and from its address, so what the key may do, its limits
    and the ledger are those of any request."""
    headers = {name: request.headers[name] for name in CREDENTIALS if name in request.headers}
    client = request.client
    address = ("127.0.0.1", 0) if client is None else (client.host, client.port)
    app: Any = request.app
    transport = httpx2.ASGITransport(app=app, client=address)
    async with httpx2.AsyncClient(
        transport=transport, base_url=str(request.base_url), headers=headers, timeout=None
    ) as http:
        yield Means(HttpModels(http), await find_grader_sandbox(request))


async def find_grader_sandbox(request: AnyRequest) -> Sandbox | None:
    """None where the operator allows no programs of clients. Raises SettingsError where this machine can hold none."""
    return await asyncio.to_thread(services_of(request).grader_sandbox.open)
