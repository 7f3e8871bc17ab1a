"""What goes wrong with MCP servers, in words for the operator, the model and the client."""

from __future__ import annotations

from llmos_server.errors import LLMOSError

MAX_SHOWN = 300


class McpFailed(LLMOSError):
    """A server can't be used, or a call of its tools came to nothing. Inside of this folder str(error) is what the
    server did ("ended with exit status 1"); outside of it a sentence that names the server."""


class ToolMissing(McpFailed):
    """The server doesn't have this tool, or no longer."""


def clip(text: str) -> str:
    """On one line, of bounded length: other people's programs write it."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_SHOWN else f"{line[:MAX_SHOWN]} ..."


def first_of(error: BaseException) -> BaseException:
    """Task groups wrap what went wrong, sometimes several times over."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
