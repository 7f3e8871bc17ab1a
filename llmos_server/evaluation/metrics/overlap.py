"""How much two texts have in common, 0 to 1, in the ways that papers report. `text` is judged by `reference`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from llmos_server.evaluation.metrics.extras import load

MAX_GLEU_ORDER = 4
WORD = re.compile(r"[^\W_]+")


def bleu(text: str, reference: str) -> float:
    """Of one sentence, by sacrebleu: n-grams that are too long for it aren't counted (effective order)."""
    metric = load("sacrebleu.metrics.bleu", "BLEU").BLEU(effective_order=True)
    return float(metric.sentence_score(text, [reference]).score) / 100


def chrf(text: str, reference: str) -> float:
    """chrF2 of one sentence, by sacrebleu."""
    metric = load("sacrebleu.metrics.chrf", "chrF").CHRF()
    return float(metric.sentence_score(text, [reference]).score) / 100


def gleu(text: str, reference: str) -> float:
    """Google's sentence GLEU (Wu et al., 2016): the smaller of precision and recall of all n-grams of 1 to 4 words."""
    found, wanted = _all_ngrams(text.split()), _all_ngrams(reference.split())
    longest = max(found.total(), wanted.total())
    return (found & wanted).total() / longest if longest else 1.0


def rouge(text: str, reference: str, kind: str) -> float:
    """F1 by rouge-score, without stemming. kind: "rouge1" to "rouge9", "rougeL". Its own tokeniser knows ASCII alone;
    words are found here in any script."""
    scorer = load("rouge_score.rouge_scorer", "ROUGE").RougeScorer([kind], tokenizer=_Words())
    return float(scorer.score(reference, text)[kind].fmeasure)


def meteor(text: str, reference: str) -> float:
    """METEOR by nltk, with its exact and its stem stage (Porter). The stage of synonyms finds none: it would need
    WordNet's data, which nltk doesn't bring."""
    module = load("nltk.translate.meteor_score", "METEOR")
    found, wanted = _words(text), _words(reference)
    return float(module.single_meteor_score(wanted, found, wordnet=_NoSynonyms())) if found and wanted else 0.0


def fuzzy_match(text: str, reference: str) -> float:
    """How few characters have to be put in or taken out (normalised indel similarity, rapidfuzz's ratio)."""
    total = len(text) + len(reference)
    return 2 * _common_length(text, reference) / total if total else 1.0


METRICS: dict[str, Callable[[str, str], float]] = {
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "chrf": chrf,
    "gleu": gleu,
    "meteor": meteor,
    **{f"rouge_{n}": lambda text, reference, n=n: rouge(text, reference, f"rouge{n}") for n in range(1, 6)},  # type: ignore[misc]
    "rouge_l": lambda text, reference: rouge(text, reference, "rougeL"),
}
"""By OpenAI's names, but for cosine, which asks a model; chrf is ours."""


class _Words:
    """For rouge-score."""

    def tokenize(self, text: str) -> list[str]:
        return _words(text)


class _NoSynonyms:
    """For nltk, in WordNet's place."""

    def synsets(self, *_: Any) -> list[Any]:
        return []


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def _all_ngrams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    counted: Counter[tuple[str, ...]] = Counter()
    for n in range(1, MAX_GLEU_ORDER + 1):
        counted.update(zip(*(words[place:] for place in range(n)), strict=False))
    return counted


def _common_length(first: str, second: str) -> int:
    """Of the longest common subsequence, a row of the table in one integer's bits (Hyyrö, 2004)."""
    places: dict[str, int] = {}
    for place, character in enumerate(first):
        places[character] = places.get(character, 0) | 1 << place
    everything = (1 << len(first)) - 1
    row = everything
    for character in second:
        both = row & places.get(character, 0)
        row = (row + both) | (row - both)
        row &= everything
    return len(first) - row.bit_count()
