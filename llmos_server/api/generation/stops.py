"""vLLM's stop_reason, an extension beside finish_reason."""

from __future__ import annotations

from llmos_server.api.generation.plans import Plan
from llmos_server.chat.deltas import TextDelta


def stop_reason(plan: Plan, text: TextDelta) -> str | int | None:
    """The stop string, or the stop token that the client named; null for the model's own end and for length."""
    if isinstance(text.stop, int) and text.stop in plan.served.renderer.eos_ids:
        return None
    return text.stop
