"""The fake server on a real socket, for programs that are started as users start them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from aiohttp import web
from tui_fake_server import FakeServer


@asynccontextmanager
async def listening(server: FakeServer) -> AsyncIterator[str]:
    """Its URL, while it listens."""

    async def handle(request: web.Request) -> web.StreamResponse:
        asked = httpx2.Request(
            request.method, f"http://fake{request.path_qs}", headers=dict(request.headers), content=await request.read()
        )
        given = await server.handle_async_request(asked)
        response = web.StreamResponse(status=given.status_code, headers={"Content-Type": given.headers["Content-Type"]})
        await response.prepare(request)
        assert isinstance(given.stream, httpx2.AsyncByteStream)
        async for chunk in given.stream:
            await response.write(chunk)
        await response.write_eof()
        return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
