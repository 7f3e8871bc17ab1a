"""Reward functions as TRL calls them: the answers, and the columns of the training file by name; a number an answer.

They need no model and no network. An answer is a text, or a list of messages of which the last is meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import jsonschema_rs

Answer = str | Sequence[dict[str, Any]]


def exact_answer(completions: Sequence[Answer], answer: Sequence[str | list[str]], **_: Any) -> list[float]:
    """1 where the text is `answer`, or one of them if it is a list; spaces at both ends don't count."""
    return [
        float(text_of(completion) in {each.strip() for each in ([wanted] if isinstance(wanted, str) else wanted)})
        for completion, wanted in zip(completions, answer, strict=True)
    ]


def pattern(completions: Sequence[Answer], pattern: Sequence[str], **_: Any) -> list[float]:
    """1 where the whole text matches the regular expression `pattern`."""
    return [
        float(re.fullmatch(wanted, text_of(completion), re.DOTALL) is not None)
        for completion, wanted in zip(completions, pattern, strict=True)
    ]


def json_schema(completions: Sequence[Answer], schema: Sequence[dict[str, Any]], **_: Any) -> list[float]:
    """1 where the text is JSON that fits `schema`, 0.5 where it is other JSON."""
    return [_fits(text_of(completion), wanted) for completion, wanted in zip(completions, schema, strict=True)]


def brevity(completions: Sequence[Answer], max_words: Sequence[int], **_: Any) -> list[float]:
    """1 up to `max_words` words, from there down to 0 at twice as many. Nothing at all is 0."""
    return [
        min(1.0, max(0.0, 2.0 - count / limit)) if (count := len(text_of(completion).split())) else 0.0
        for completion, limit in zip(completions, max_words, strict=True)
    ]


def text_of(completion: Answer) -> str:
    if isinstance(completion, str):
        return completion.strip()
    return str(completion[-1]["content"] or "").strip() if completion else ""


def _fits(text: str, schema: dict[str, Any]) -> float:
    try:
        value = json.loads(text)
    except ValueError:
        return 0.0
    return 1.0 if jsonschema_rs.is_valid(schema, value) else 0.5
