"""Words, in scripts with spaces and without."""

from __future__ import annotations

import re

APART = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
WORD = re.compile(rf"[{APART}]|[^\W{APART}]+(?:['’-]\w+)*")
"""Each letter of Chinese, Japanese and Korean is one."""


def count_words(text: str) -> int:
    return sum(1 for _ in WORD.finditer(text))


def first_words(text: str, limit: int) -> str:
    """Up to the end of the last one that is allowed; all of a text that has no more."""
    end = 0
    for number, match in enumerate(WORD.finditer(text)):
        if number == limit:
            return text[:end]
        end = match.end()
    return text
