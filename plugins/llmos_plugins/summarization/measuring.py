"""ROUGE of the case set."""

from __future__ import annotations

from collections.abc import Sequence

from llmos_plugins.summarization.rouge import rouge_l, rouge_n
from llmos_plugins.summarization.types import SummarizationInput, SummarizationOutput
from llmos_server import Outcome


def measure(outcomes: Sequence[Outcome[SummarizationInput, SummarizationOutput]]) -> dict[str, float]:
    """rouge_1, rouge_2, rouge_l: means of F1, 0 to 100; a run that failed has none. clean: share of cases with nothing
    to tell of."""
    pairs = [(_text(outcome), str(outcome.case.expected)) for outcome in outcomes]
    num = len(pairs)
    clean = sum(outcome.output is not None and not outcome.output.problems for outcome in outcomes)
    return {
        "rouge_1": round(100 * sum(rouge_n(text, wanted, 1) for text, wanted in pairs) / num, 2),
        "rouge_2": round(100 * sum(rouge_n(text, wanted, 2) for text, wanted in pairs) / num, 2),
        "rouge_l": round(100 * sum(rouge_l(text, wanted) for text, wanted in pairs) / num, 2),
        "clean": round(clean / num, 4),
    }


def _text(outcome: Outcome[SummarizationInput, SummarizationOutput]) -> str:
    return outcome.output.result if outcome.output else ""
