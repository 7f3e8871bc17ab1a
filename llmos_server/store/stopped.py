"""What becomes of a response whose server ended under it."""

from __future__ import annotations

from typing import Any

MESSAGE = "The server was stopped before this response was finished. Send the request again."


def fail(response: dict[str, Any]) -> dict[str, Any]:
    """The same response, failed; items that were being written are incomplete."""
    output = [
        {**item, "status": "incomplete"} if item.get("status") == "in_progress" else item
        for item in response.get("output", ())
    ]
    error = {"code": "server_error", "message": MESSAGE}
    return {**response, "status": "failed", "error": error, "output": output}
