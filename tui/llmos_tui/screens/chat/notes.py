"""Lines about an answer: its head, what is below it, and the figures of the status line."""

from __future__ import annotations

from llmos_tui import words
from llmos_tui.screens.chat.thread import Answer

RATINGS = {1: "rated +", -1: "rated -"}


def head_of(answer: Answer, now: float | None) -> str:
    """Who answers, and how far it is."""
    parts = [answer.model or "Answer"]
    if answer.state == "waiting":
        parts.append(f"waiting {words.age(max(0.0, now - answer.begun))} …" if now is not None else "waiting …")
    elif answer.state == "writing":
        parts.append("writing …")
    elif answer.state == "stopped":
        parts.append("stopped")
    elif answer.state == "failed":
        parts.append("failed")
    elif answer.finish_reason == "length":
        parts.append("cut: no room left, or max tokens reached")
    elif answer.finish_reason == "content_filter":
        parts.append("ended by a filter of the server's")
    if answer.opinion.rating in RATINGS:
        parts.append(RATINGS[answer.opinion.rating])
    return " · ".join(parts)


def notes_of(answer: Answer) -> str:
    """What the user should know of it, a line each."""
    notes = []
    if answer.is_over and answer.is_empty and not answer.error:
        notes.append("(The answer is empty.)")
    if answer.format_error:
        notes.append(f"Not as its form asks for: {answer.format_error}")
    if answer.usage and answer.usage.dropped_messages:
        notes.append(f"{answer.usage.dropped_messages} of the oldest messages were left out: the chat is too long.")
    if answer.opinion.correction is not None:
        notes.append(f"Corrected: {answer.opinion.correction}")
    if answer.opinion.comment:
        notes.append(f"Comment: {answer.opinion.comment}")
    if (call := answer.open_call) is not None:
        notes.append(f"It waits for the result of {call.name}: write it below.")
    return "\n".join(notes)


def figures_of(answer: Answer | None) -> str:
    """Pace, TTFT and usage."""
    if answer is None:
        return ""
    parts = []
    if answer.pace is not None:
        parts.append(f"{words.rate(answer.pace)} tok/s")
    if answer.ttft is not None:
        parts.append(f"TTFT {words.seconds(answer.ttft)}")
    if (usage := answer.usage) is not None:
        cached = usage.prompt_tokens_details.cached_tokens
        parts.append(f"{usage.prompt_tokens} in" + (f" ({cached} cached)" if cached else ""))
        reasoning = usage.completion_tokens_details.reasoning_tokens
        parts.append(f"{usage.completion_tokens} out" + (f" ({reasoning} reasoning)" if reasoning else ""))
    if answer.is_over and answer.finish_reason:
        parts.append(answer.finish_reason)
    return " · ".join(parts)
