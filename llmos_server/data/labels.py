"""Lines of methods that OpenAI does not have: answers with a thumb up or down, as in TRL, and labelled texts."""

from __future__ import annotations

import math
from typing import Any

from llmos_server.data.content import check_text
from llmos_server.data.examples import Example, Label, LabelledExample, RatedExample
from llmos_server.data.findings import Finder, kind_of
from llmos_server.data.messages import read_messages
from llmos_server.data.tools import read_tools

_RATING = {"prompt", "completion", "label", "tools"}
_LABEL = {"text", "text_pair", "label"}


def read_rating(line: dict[str, Any], finder: Finder) -> Example | None:
    """{"prompt": [messages], "completion": [a message of the assistant], "label": true}."""
    _warn_of_others(line, _RATING, finder)
    tools = read_tools(line, "", finder)
    names = {tool["function"]["name"] for tool in tools or ()}
    asked = read_messages(line.get("prompt"), "prompt", names, finder).messages
    answers = read_messages(line.get("completion"), "completion", names, finder).messages
    if asked and asked[-1]["role"] == "assistant":
        finder.refuse("prompt", "no_question", "The last message is the assistant's; the answer is the completion.")
    if answers and (len(answers) != 1 or answers[0]["role"] != "assistant"):
        finder.refuse("completion", "wrong_role", "It is a list of one message of the assistant.")
    label = line.get("label")
    if not isinstance(label, bool):
        finder.refuse("label", "wrong_type", f"It is {kind_of(label)}; it is true for a good answer, else false.")
    if finder.has_errors or not isinstance(label, bool):
        return None
    return RatedExample(line=finder.line, messages=asked, answer=answers[0], is_good=label, tools=tools)


def read_label(line: dict[str, Any], finder: Finder) -> Example | None:
    """{"text": ..., "label": ...}: one label, a list of them, or a number; with a second text as text_pair."""
    _warn_of_others(line, _LABEL, finder)
    text = _text(line, "text", finder)
    pair = _text(line, "text_pair", finder) if line.get("text_pair") is not None else None
    label = _label(line.get("label"), finder)
    if finder.has_errors or text is None or label is None:
        return None
    return LabelledExample(line=finder.line, text=text, text_pair=pair, label=label)


def _text(line: dict[str, Any], name: str, finder: Finder) -> str | None:
    value = line.get(name)
    if not isinstance(value, str) or not value.strip():
        finder.refuse(name, "missing_field", "It is a text, and has to be there.")
        return None
    check_text(value, name, finder)
    return value


def _label(value: Any, finder: Finder) -> Label | None:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and all(isinstance(each, str) and each.strip() for each in value):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    finder.refuse("label", "wrong_type", f"It is {kind_of(value)}; it is a word, a list of words, or a number.")
    return None


def _warn_of_others(line: dict[str, Any], known: set[str], finder: Finder) -> None:
    for name in sorted(line.keys() - known):
        finder.warn(name[:64], "unknown_field", "Nothing reads this field; leave it out.")
