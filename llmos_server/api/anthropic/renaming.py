"""What is found wrong with the chat that a request became, told in the request's own words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from llmos_server.api.schemas.anthropic import PromptFields
from llmos_server.errors import InvalidRequest

_MESSAGE = re.compile(r"\bmessages\[(\d+)\](?:\.content\b)?")
_WORDS = (
    (re.compile(r"(\btools\[\d+\])\.function\.parameters"), r"\1.input_schema"),
    (re.compile(r"(\btools\[\d+\])\.function"), r"\1"),
    (re.compile(r"\btool_choice\.function\.name"), "tool_choice.name"),
    (re.compile(r"\btool_choice: required\b"), "tool_choice: any"),
    (re.compile(r"\bmax_completion_tokens\b"), "max_tokens"),
)


@contextmanager
def renamed(data: PromptFields, places: Sequence[str]) -> Iterator[None]:
    """places: of each of the chat's messages, in the request."""
    has_new_name = data.output_config is not None and data.output_config.format is not None
    form = "output_config.format" if has_new_name else "output_format"

    def rename(text: str) -> str:
        text = _MESSAGE.sub(_place_of(places), text)
        for pattern, word in _WORDS:
            text = pattern.sub(word, text)
        return text.replace("response_format.json_schema", form).replace("response_format", form)

    try:
        yield
    except InvalidRequest as error:
        error.args = (rename(str(error)),)
        error.param = None if error.param is None else rename(error.param)
        raise


def _place_of(places: Sequence[str]) -> Callable[[re.Match[str]], str]:
    def place(found: re.Match[str]) -> str:
        number = int(found[1])
        return places[number] if number < len(places) else found[0]

    return place
