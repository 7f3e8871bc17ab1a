"""What is refused before the protocol begins, as a JSON-RPC error, which MCP clients show to people."""

from __future__ import annotations

import msgspec

from llmos_server.api.errors import WireError

INVALID_REQUEST, INTERNAL_ERROR = -32600, -32603


def mcp_error(wire: WireError, request_id: str) -> bytes:
    code = INVALID_REQUEST if wire.status < 500 else INTERNAL_ERROR
    data = {"code": wire.code, "request_id": request_id}
    error = {"code": code, "message": wire.bounded_message, "data": data}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": None, "error": error})
