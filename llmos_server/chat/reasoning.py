"""Reasoning that a model writes before its answer, between markers: <think> … </think>."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from llmos_server.chat.tools.grammar import regex, speller


class Markers(NamedTuple):
    begin: str
    end: str


STYLES = {"think": Markers("<think>", "</think>"), "mistral": Markers("[THINK]", "[/THINK]")}
"""By their names in settings."""


def choose_reasoning(template: str, name: str = "auto") -> Markers | None:
    """template: a chat template's source. name: of a style, "none", or "auto"."""
    if name != "auto":
        return STYLES.get(name)
    return next((markers for markers in STYLES.values() if markers.end in template), None)


def is_open(markers: Markers, prompt: str, *, is_continued: bool) -> bool:
    """Whether a prompt that ends so leaves the model in the midst of its reasoning. is_continued: the end is text of
    the answer, not the template's."""
    if is_continued:
        return prompt.rfind(markers.begin) > prompt.rfind(markers.end)
    return prompt.rstrip().endswith(markers.begin)


def after_reasoning(grammar: str, markers: Markers, *, is_open: bool, tokens: Mapping[str, int]) -> str:
    """The grammar of an answer, with any reasoning allowed before it; where it is open already, it has to be closed.
    tokens: markers that are tokens of this model."""
    spell = speller(tokens)
    end = regex(markers.end)
    closing = f" | INSIDE? <[{tokens[markers.end]}]>" if markers.end in tokens else ""
    opening = "" if is_open else f"{spell(markers.begin)} "
    rules = f"""%llguidance {{}}
start: reasoning{"" if is_open else "?"} SPACE? @answer
reasoning: {opening}(to_end{closing})
to_end[lazy]: /(?s:.*){end}/
INSIDE: /(?s:.+)/ & ~/(?s:.*){end}(?s:.*)/
SPACE: /\\s{{1,8}}/"""
    answer: list[dict[str, Any]] = (
        json.loads(grammar)["grammars"] if grammar.startswith("{") else [{"lark_grammar": grammar}]
    )
    answer[0] = {key: value for key, value in answer[0].items() if value is not None} | {"name": "answer"}
    return json.dumps({"grammars": [{"lark_grammar": rules}, *answer]})


class ReasoningSplitter:
    """Text to reasoning and the rest, piece by piece. White space around the markers belongs to neither."""

    def __init__(self, markers: Markers, *, is_open: bool) -> None:
        self._markers = markers
        self._state = "inside" if is_open else "before"
        self._held = ""
        self._has_text = False
        self.num_chars: int = 0
        """Of all that was fed."""
        self.begin: int | None = 0 if is_open else None
        """Characters before the begin marker, once that is there."""
        self.end: int | None = None
        """Characters up to and with the end marker; -1 where there is no reasoning."""

    def feed(self, text: str) -> tuple[str, str]:
        """Reasoning, and text that isn't."""
        self.num_chars += len(text)
        self._held += text
        if self._state == "before":
            self._look_for_begin()
        reasoning = self._inside() if self._state == "inside" else ""
        return reasoning, self._outside() if self._state in ("after", "outside") else ""

    def finish(self) -> tuple[str, str]:
        """Nothing follows. Reasoning that wasn't closed is reasoning."""
        held, self._held = self._held, ""
        if self._state == "inside":
            return held.rstrip(), ""
        if self._state == "before":
            self.end = -1
        return "", "" if self._state == "after" else held

    def _look_for_begin(self) -> None:
        text = self._held.lstrip()
        begin = self._markers.begin
        if text.startswith(begin):
            self.begin = self.num_chars - len(text)
            self._held = text[len(begin) :]
            self._state = "inside"
        elif not begin.startswith(text):
            self.end = -1
            self._state = "outside"

    def _inside(self) -> str:
        if not self._has_text:
            self._held = self._held.lstrip()
        end = self._markers.end
        place = self._held.find(end)
        if place >= 0:
            reasoning, self._held = self._held[:place].rstrip(), self._held[place + len(end) :]
            self.end = self.num_chars - len(self._held)
            self._state = "after"
            return reasoning
        begun = max((n for n in range(1, len(end)) if self._held.endswith(end[:n])), default=0)
        reasoning = self._held[: len(self._held) - begun].rstrip()
        self._held = self._held[len(reasoning) :]
        self._has_text = self._has_text or bool(reasoning)
        return reasoning

    def _outside(self) -> str:
        if self._state == "after":
            self._held = self._held.lstrip()
            if not self._held:
                return ""
            self._state = "outside"
        text, self._held = self._held, ""
        return text
