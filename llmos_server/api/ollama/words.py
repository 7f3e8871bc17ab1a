"""Refusals that name another API's fields, in the words of this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from llmos_server.errors import InvalidRequest

FIELDS = {
    "response_format.json_schema.schema": "format",
    "response_format.schema": "format",
    "response_format": "format",
    "max_completion_tokens": "options.num_predict",
    "max_tokens": "options.num_predict",
    "repetition_penalty": "options.repeat_penalty",
    "stop": "options.stop",
    "truncate_prompt_tokens": "truncate",
}
"""The field that a refusal is about -> what it is called here. Longer names come before their beginnings."""

REMEDIES = {
    'send "on_overflow": "drop_oldest"': 'send "truncate": true',
    "send truncate_prompt_tokens: -1": 'send "truncate": true',
}


@contextmanager
def own_words(others: Mapping[str, str] | None = None) -> Iterator[None]:
    """others: more FIELDS."""
    try:
        yield
    except InvalidRequest as error:
        _translate(error, {**FIELDS, **(others or {})})
        raise


def _translate(error: InvalidRequest, fields: Mapping[str, str]) -> None:
    message = str(error)
    for theirs, ours in REMEDIES.items():
        message = message.replace(theirs, ours)
    for theirs, ours in fields.items():
        if error.param is not None and (error.param + ".").startswith(theirs + "."):
            error.param = ours + error.param.removeprefix(theirs)
            message = message.replace(theirs, ours, 1)
            break
    error.args = (message,)
