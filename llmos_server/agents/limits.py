"""How far a loop may go, and what is told when that is too far."""

from __future__ import annotations

from dataclasses import dataclass

from llmos_server.settings import AgentsSettings


@dataclass(frozen=True, kw_only=True)
class LoopLimits:
    """Of one request: what the settings allow, and what the request asks for where that is less."""

    max_turns: int
    max_seconds: float
    """From the loop's begin to its end; 0: no bound."""
    max_tokens: int | None
    """Of all turns together."""
    max_calls: int | None
    max_parallel_calls: int
    max_tool_output: int
    """Characters."""


def create_limits(
    settings: AgentsSettings, *, has_tools: bool, max_tokens: int | None, max_calls: int | None
) -> LoopLimits:
    """has_tools: without tools of the server's there is one turn, which no setting of the loop bounds. max_tokens,
    max_calls: the request's own."""
    bounds = [bound for bound in (max_tokens, settings.max_tokens if has_tools else None) if bound]
    return LoopLimits(
        max_turns=settings.max_turns,
        max_seconds=settings.max_seconds if has_tools else 0.0,
        max_tokens=min(bounds, default=None),
        max_calls=max_calls,
        max_parallel_calls=settings.max_parallel_calls,
        max_tool_output=settings.max_tool_output,
    )


def clip(text: str, limit: int) -> str:
    """What a tool returned, as text that can be sent: at most so many characters, and said so."""
    sound = text.encode("utf-8", "replace").decode("utf-8")
    if len(sound) <= limit:
        return sound
    return f"{sound[:limit]}\n[cut: these are the first {limit} of {len(sound)} characters]"
