"""Accuracy and F1 over cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

Labels = frozenset[str]


def accuracy_and_f1(pairs: Sequence[tuple[Labels, Labels]]) -> dict[str, float]:
    """pairs: expected labels and those that were found. accuracy: the share of cases with exactly the right ones. f1:
    the mean over all labels that are expected somewhere; a label that is never found has 0."""
    right, found, expected = Counter[str](), Counter[str](), Counter[str]()
    for wanted, given in pairs:
        right.update(wanted & given)
        found.update(given)
        expected.update(wanted)
    scores = [2 * right[label] / (found[label] + expected[label]) for label in expected]
    return {
        "accuracy": sum(wanted == given for wanted, given in pairs) / len(pairs),
        "f1": sum(scores) / len(scores),
    }
