"""chrF and BLEU of the case set, by sacrebleu (in the extra "eval")."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from llmos_plugins.text.languages import find_language
from llmos_plugins.translation.types import TranslationInput, TranslationOutput
from llmos_server import Outcome

TOKENIZERS = {"zh": "zh", "ja": "char", "ko": "char", "th": "char"}
"""Of BLEU; others "13a"."""
HARD = {"lost", "invented", "order", "form", "empty", "in_pieces", "untranslated"}


def measure(outcomes: Sequence[Outcome[TranslationInput, TranslationOutput]]) -> dict[str, float]:
    """chrf, bleu: of the whole set, 0 to 100, a run that failed counts as an empty text; BLEU is the mean of the
    target languages', by their numbers of cases. clean: share of cases in which the model did all by itself."""
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise ImportError("chrF and BLEU are sacrebleu's; install it with: pip install 'llmos[eval]'") from None
    texts = [outcome.output.result if outcome.output else "" for outcome in outcomes]
    references = [str(outcome.case.expected) for outcome in outcomes]
    groups: dict[str, list[int]] = defaultdict(list)
    for place, outcome in enumerate(outcomes):
        groups[find_language(outcome.input.target).base].append(place)
    bleu = 0.0
    for tag, places in groups.items():
        metric: Any = BLEU(tokenize=TOKENIZERS.get(tag, "13a"), effective_order=False)
        score = metric.corpus_score([texts[place] for place in places], [[references[place] for place in places]])
        bleu += score.score * len(places) / len(outcomes)
    chrf = CHRF().corpus_score(texts, [references]).score
    clean = sum(_is_clean(outcome.output) for outcome in outcomes) / len(outcomes)
    return {"chrf": round(chrf, 2), "bleu": round(bleu, 2), "clean": round(clean, 4)}


def _is_clean(output: TranslationOutput | None) -> bool:
    return output is not None and not any(problem.kind in HARD for problem in output.problems)
