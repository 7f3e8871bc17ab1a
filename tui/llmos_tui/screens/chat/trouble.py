"""What can be done about a request that failed."""

from __future__ import annotations

from llmos_tui.client import ClientError, Refused, Unauthorised, Unreachable

AGAIN = "g asks again."
BY_CODE = {
    "model_not_found": "m chooses another model.",
    "context_length_exceeded": "n begins a new chat; e on an earlier question goes on from there.",
    "skill_not_found": "m chooses another model.",
    "template_error": "m chooses another model; o shows what is sent with the chat.",
    "no_chat_template": "m chooses another model.",
    "engine_failed": f"The log (7) tells more. {AGAIN}",
    "internal_error": f"The log (7) tells more, under the request's id. {AGAIN}",
    "aborted_by_administrator": AGAIN,
}


def remedy(error: ClientError) -> str:
    """For the user; empty where the server's words say it all."""
    if isinstance(error, Unreachable):
        return f"What was written until then is kept. {AGAIN}"
    if isinstance(error, Unauthorised):
        return "This key may not do that: leave, and name another with --key."
    if not isinstance(error, Refused):
        return ""
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    if error.status in (429, 503):
        return f"Wait a moment, then {AGAIN}"
    if error.status == 400:
        return f"o shows what is sent with the chat. {AGAIN}"
    return AGAIN
