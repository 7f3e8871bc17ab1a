"""What is sent with a chat beside its messages, written as text and read with errors that say what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


class WrongOption(ValueError):
    """name: of the field."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Option:
    """One field of the panel. name: the request's. read: from text that isn't empty; raises ValueError with words."""

    name: str
    label: str
    hint: str
    read: Callable[[str], Any]
    is_long: bool = False


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


def _json(text: str, kind: type, words: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from None
    if not isinstance(value, kind):
        raise ValueError(f"has to be {words}")
    return value


def _stops(text: str) -> list[str]:
    """One text, or several as a JSON list; \\n and \\t stand for what they say."""
    if text.startswith("["):
        return list(_json(text, list, "a list of texts"))
    return [text.replace("\\n", "\n").replace("\\t", "\t")]


def _schema(text: str) -> dict[str, Any]:
    if text.strip() == "json":
        return {"type": "json_object"}
    schema = _json(text, dict, "a JSON Schema, or the word json")
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


OPTIONS = (
    Option("temperature", "Temperature", "0 to 2; 0 always takes the likeliest", _number),
    Option("top_p", "Top p", "above 0, up to 1", _number),
    Option("top_k", "Top k", "0 keeps every token", _whole),
    Option("min_p", "Min p", "0 to 1", _number),
    Option("max_completion_tokens", "Max tokens", "all the room that is left", _whole),
    Option("seed", "Seed", "another one each time", _whole),
    Option("presence_penalty", "Presence penalty", "-2 to 2", _number),
    Option("frequency_penalty", "Frequency penalty", "-2 to 2", _number),
    Option("repetition_penalty", "Repetition penalty", "above 0; 1 is none", _number),
    Option("stop", "Stop", 'a text, or ["a", "b"]', _stops),
    Option("reasoning_effort", "Reasoning effort", "none, low, medium, high", str),
    Option("response_format", "Form of the answer", "a JSON Schema, or: json", _schema, is_long=True),
    Option("tools", "Tools", "a JSON list, as in the API", lambda text: _json(text, list, "a list"), is_long=True),
    Option(
        "more",
        "More fields",
        "a JSON object: any of the API's",
        lambda text: _json(text, dict, "an object"),
        is_long=True,
    ),
)
OURS = frozenset({"model", "messages", "stream", "stream_options", "logprobs", "top_logprobs", "n"})
"""Fields that this program sets itself."""


@dataclass
class Options:
    """texts: by the fields' names, as they were written; what is empty is left to the server."""

    system: str = ""
    texts: dict[str, str] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """Of the request. Raises WrongOption."""
        found: dict[str, Any] = {}
        for option in OPTIONS:
            text = self.texts.get(option.name, "").strip()
            if not text:
                continue
            try:
                found[option.name] = option.read(text)
            except ValueError as error:
                raise WrongOption(option.name, f"{option.label}: {error}.") from None
        more = found.pop("more", {})
        if taken := sorted(OURS & set(more)):
            raise WrongOption("more", f"More fields: {', '.join(taken)} can't be set here.")
        return {**found, **more}

    def kept(self) -> dict[str, str]:
        """What isn't empty."""
        return {name: text.strip() for name, text in self.texts.items() if text.strip()}


def described(options: Options) -> str:
    """In one line, for exports and the head of a chat."""
    return ", ".join(f"{name} {text}" for name, text in options.kept().items() if len(text) <= 24)


def from_kept(kept: Mapping[str, Any]) -> dict[str, str]:
    """Of a saved chat: those that are known."""
    known = {option.name for option in OPTIONS}
    return {name: text for name, text in kept.items() if name in known and isinstance(text, str)}
