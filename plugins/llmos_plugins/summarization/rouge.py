"""ROUGE of two texts (Lin, 2004): F1 of their common n-grams, and of their longest common subsequence of words.

As the package rouge-score computes it without stemming, for any script; that package is no longer maintained.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from llmos_plugins.text.words import APART

WORD = re.compile(rf"[{APART}]|[^\W_{APART}]+")


def rouge_n(text: str, reference: str, n: int) -> float:
    """0 to 1."""
    found, wanted = _ngrams(_words(text), n), _ngrams(_words(reference), n)
    return _f1((found & wanted).total(), found.total(), wanted.total())


def rouge_l(text: str, reference: str) -> float:
    """0 to 1."""
    found, wanted = _words(text), _words(reference)
    return _f1(_common_length(found, wanted), len(found), len(wanted))


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def _ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[place:] for place in range(n)), strict=False))


def _common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Of the longest common subsequence: row by row."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for place, other in enumerate(second, start=1):
            above = row[place]
            row[place] = before + 1 if word == other else max(above, row[place - 1])
            before = above
    return row[-1]


def _f1(common: int, num_found: int, num_wanted: int) -> float:
    if not common:
        return 0.0
    precision, recall = common / num_found, common / num_wanted
    return 2 * precision * recall / (precision + recall)
