"""What both forms of a report say, in rows: so that Markdown and HTML can't differ."""

from __future__ import annotations

from collections.abc import Iterator

from llmos_server.evaluation.metrics.bootstrap import Interval
from llmos_server.evaluation.report.figures import Answer, Report, RunFigures

MAX_ITEMS = 50
MAX_TEXT = 400

Row = tuple[str, ...]


def run_rows(report: Report) -> Iterator[Row]:
    yield ("run", "model", "weights", "items", "errors", "passed")
    for run in report.runs:
        digest = run.digest.removeprefix("sha256:")[:12] or "-"
        passed = "-" if run.passed is None else told(run.passed)
        yield (run.name, run.model or "-", digest, str(run.num_items), str(run.num_errors), passed)


def mean_rows(report: Report) -> Iterator[Row]:
    """Of runs alone: over all items that each has graded."""
    yield ("grader", *(run.name for run in report.runs))
    for criterion in report.runs[0].criteria:
        found = [next(one for one in run.criteria if one.name == criterion.name) for run in report.runs if run.criteria]
        yield (criterion.name, *(told(one.mean) for one in found))


def difference_rows(report: Report) -> Iterator[Row]:
    if report.comparison is None:
        return
    base = report.runs[0].name
    yield ("score", base, *(f"{run.name} minus {base}" for run in report.runs[1:]))
    for one in report.comparison.criteria:
        yield (one.name, f"{one.means[0].mean:.3f}", *(told_difference(difference) for difference in one.differences))


def further_rows(report: Report) -> Iterator[Row]:
    """Figures of whole sets."""
    yield ("run", "grader", "figure", "value", "how")
    for run in report.runs:
        for criterion in run.criteria:
            if (corpus := criterion.corpus) is not None:
                yield (run.name, criterion.name, corpus.name, f"{corpus.score:.2f}", corpus.signature)
            if (labels := criterion.labels) is not None:
                yield (run.name, criterion.name, "accuracy", f"{labels.accuracy:.3f}", "exact matches")
                how = f"mean of {len(labels.f1)} labels"
                yield (run.name, criterion.name, "macro F1", f"{labels.macro_f1:.3f}", how)
        if (found := run.calibration) is not None:
            how = f"95 % interval {found.ece_low:.3f} to {found.ece_high:.3f}; Brier score {found.brier:.3f}"
            yield (run.name, "passed", "calibration error", f"{found.ece:.3f}", how)


def item_rows(report: Report) -> tuple[str, list[Row]]:
    """A title, and items that are worth a look: where runs differ, or that one run failed."""
    answers = [{answer.position: answer for answer in run.answers} for run in report.runs]
    places = [place for place in sorted(answers[0]) if _is_worth_a_look(place, answers)]
    title = "Items that the runs did differently" if len(report.runs) > 1 else "Items that didn't pass"
    if len(places) > MAX_ITEMS:
        title = f"{title}: the first {MAX_ITEMS} of {len(places)}"
    rows: list[Row] = [("item", *(run.name for run in report.runs))]
    rows += [
        (clip(answers[0][place].item), *(_told_answer(run.get(place)) for run in answers))
        for place in places[:MAX_ITEMS]
    ]
    return title, rows


def _is_worth_a_look(place: int, answers: list[dict[int, Answer]]) -> bool:
    found = [run[place].status for run in answers if place in run]
    return len(set(found)) > 1 if len(answers) > 1 else found[0] != "pass"


def _told_answer(answer: Answer | None) -> str:
    return "-" if answer is None else f"{answer.status}: {clip(answer.output)}"


def told(interval: Interval) -> str:
    return f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def told_difference(interval: Interval) -> str:
    verdict = "better" if interval.low > 0 else "worse" if interval.high < 0 else "no clear difference"
    return f"{interval.mean:+.3f} ({interval.low:+.3f} to {interval.high:+.3f}), {verdict}"


def clip(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} ..."


def scales(runs: list[RunFigures]) -> dict[str, tuple[float, float]]:
    """Lowest and highest score of each grader, 0 and 1 at least: what plots are drawn in."""
    found: dict[str, tuple[float, float]] = {}
    for run in runs:
        for criterion in run.criteria:
            low, high = found.get(criterion.name, (0.0, 1.0))
            found[criterion.name] = (min(low, *criterion.scores), max(high, *criterion.scores))
    return found


NOTE = (
    "In brackets: what 95 of 100 such samples of items would give (bootstrap, 2,000 resamples). Differences are "
    "paired: item by item, over the items that all runs have graded."
)
