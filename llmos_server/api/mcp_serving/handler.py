"""POST /mcp: this server as an MCP server. Stateless, so GET and DELETE, which are about sessions, answer 405."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from litestar import post
from litestar.types import ASGIApp

from llmos_server.api.bodies.body import decode_json, require_json
from llmos_server.api.generation.starting import AnyRequest


@post("/mcp", include_in_schema=False)
async def serve_mcp(request: AnyRequest) -> ASGIApp:
    """Not in the OpenAPI document: what is sent here is the protocol's."""
    require_json(request.headers.get("content-type", ""))
    body = await request.body()
    decode_json(body)
    # The SDK takes a second to import: not before somebody asks, and then in a thread.
    protocol: Any = await asyncio.to_thread(importlib.import_module, "llmos_server.api.mcp_serving.protocol")
    app: ASGIApp = protocol.answer(request, body)
    return app
