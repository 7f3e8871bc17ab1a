"""Which language a text is in, by py3langid: naive Bayes over byte n-grams, 5 MB in the package, nothing is fetched."""

from __future__ import annotations

import functools
import threading
from typing import Any, NamedTuple

from llmos_plugins.text.languages import known_tags

MAX_CHARACTERS = 5000
"""More of a text changes nothing."""
CLEAR = 0.5
"""Below this probability the detector's first guess is no better than none: short texts, lists of names."""

_lock = threading.Lock()


class Detection(NamedTuple):
    tag: str | None
    """None: unclear."""
    probability: float
    """Of the likeliest language, tag or not."""


def detect(text: str) -> Detection:
    """Takes some seconds and 80 MB when it is called for the first time."""
    tag, probability = _identifier().classify(text[:MAX_CHARACTERS])
    return Detection(tag if probability >= CLEAR else None, round(probability, 4))


def is_other_language(text: str, tag: str) -> bool:
    """Surely not in the language of this tag, which detect() knows."""
    ranked = dict(_identifier().rank(text[:MAX_CHARACTERS]))
    return bool(max(ranked.values()) >= 0.9 and ranked[tag] < 0.02)


def _identifier() -> Any:
    with _lock:  # One thread loads it, others wait.
        return _load()


@functools.cache
def _load() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(known_tags())
    return identifier
