"""Plots as SVG that reads in light and dark, by hand, so that nothing is needed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from llmos_server.evaluation.report.figures import RunFigures
from llmos_server.evaluation.report.markdown import histogram
from llmos_server.evaluation.report.telling import scales

WIDTH, LEFT, RIGHT = 720, 220, 24
ROW, HEAD = 22, 26
STYLE = """
text { font: 13px system-ui, sans-serif; fill: currentColor }
.grid { stroke: currentColor; opacity: .15 } .axis { opacity: .6 }
.s0 { stroke: #0969da; fill: #0969da } .s1 { stroke: #bc4c00; fill: #bc4c00 } .s2 { stroke: #1a7f37; fill: #1a7f37 }
.s3 { stroke: #8250df; fill: #8250df } .s4 { stroke: #bf3989; fill: #bf3989 } .s5 { stroke: #57606a; fill: #57606a }
.bar { stroke: none; opacity: .75 }
"""
NUM_COLOURS = 6


def draw_means(runs: Sequence[RunFigures]) -> str:
    """A row for each grader and run: the mean, and its interval."""
    marks: list[str] = []
    y = HEAD
    for name, (low, high) in scales(list(runs)).items():
        marks.append(f'<text x="0" y="{y + 14}" font-weight="600">{escape(name)}</text>')
        marks.append(_scale(y, low, high, len(runs)))
        y += HEAD
        for place, run in enumerate(runs):
            for criterion in run.criteria:
                if criterion.name == name:
                    first, middle, last = (
                        _x(value, low, high) for value in (criterion.mean.low, criterion.mean.mean, criterion.mean.high)
                    )
                    colour = f"s{place % NUM_COLOURS}"
                    marks.append(f'<text x="12" y="{y + 5}">{escape(_short(run.name))}</text>')
                    marks.append(
                        f'<line class="{colour}" x1="{first:.1f}" x2="{last:.1f}" y1="{y}" y2="{y}" stroke-width="2"/>'
                    )
                    marks.append(f'<circle class="{colour}" cx="{middle:.1f}" cy="{y}" r="5"/>')
            y += ROW
        y += 8
    return _svg(marks, y)


def draw_spread(runs: Sequence[RunFigures]) -> str:
    """How the scores of graders that give more than 0 and 1 are spread: a bar for each run in each tenth. "" where
    there are none."""
    marks: list[str] = []
    y, height = HEAD, 80
    for name, (low, high) in scales(list(runs)).items():
        columns = [
            histogram(criterion.scores, low, high)
            for run in runs
            for criterion in run.criteria
            if criterion.name == name
        ]
        scores = {
            score for run in runs for criterion in run.criteria if criterion.name == name for score in criterion.scores
        }
        if scores <= {0.0, 1.0}:
            continue
        marks.append(f'<text x="0" y="{y + 14}" font-weight="600">{escape(name)}</text>')
        most = max(max(column) for column in columns)
        step = (WIDTH - LEFT - RIGHT) / len(columns[0])
        for place, column in enumerate(columns):
            wide = (step - 6) / len(columns)
            for tenth, count in enumerate(column):
                tall = count / most * height
                marks.append(
                    f'<rect class="bar s{place % NUM_COLOURS}" x="{LEFT + tenth * step + place * wide:.1f}" '
                    f'y="{y + height - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}"><title>'
                    f"{escape(runs[place].name)}: {count}</title></rect>"
                )
        marks.append(_ticks(y + height, low, high))
        y += height + HEAD + 16
    return _svg(marks, y) if marks else ""


def draw_reliability(runs: Sequence[RunFigures]) -> str:
    """Probability of the answers against how often they passed; "" where no run has them."""
    size, marks = 260, []
    found = [(place, run.calibration) for place, run in enumerate(runs) if run.calibration is not None]
    if not found:
        return ""
    x0, y0 = 60, HEAD + size
    marks.append(f'<line class="grid" x1="{x0}" y1="{y0}" x2="{x0 + size}" y2="{y0 - size}" stroke-dasharray="4 4"/>')
    marks.append(f'<rect class="grid" x="{x0}" y="{HEAD}" width="{size}" height="{size}" fill="none"/>')
    for tick in (0.0, 0.5, 1.0):
        marks.append(f'<text class="axis" x="{x0 + tick * size - 8}" y="{y0 + 18}">{tick:g}</text>')
        marks.append(f'<text class="axis" x="{x0 - 30}" y="{y0 - tick * size + 4}">{tick:g}</text>')
    for place, reliability in found:
        points = [(x0 + one.predicted * size, y0 - one.observed * size, one.count) for one in reliability.bins]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
        colour = f"s{place % NUM_COLOURS}"
        marks.append(f'<polyline class="{colour}" points="{line}" style="fill:none" stroke-width="2"/>')
        for x, y, count in points:
            marks.append(
                f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{count} items</title></circle>'
            )
        marks.append(
            f'<text class="{colour}" style="stroke:none" x="{x0 + size + 24}" y="{HEAD + 16 + place * ROW}">'
            f"{escape(_short(runs[place].name))}</text>"
        )
    marks.append(
        f'<text class="axis" x="{x0}" y="{y0 + 38}">probability of the answer; upwards: share that passed</text>'
    )
    return _svg(marks, y0 + 50)


def _svg(marks: list[str], height: float) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img">'
    return f"{head}<style>{STYLE}</style>{''.join(marks)}</svg>"


def _scale(y: float, low: float, high: float, num_runs: int) -> str:
    bottom = y + HEAD + num_runs * ROW - 8
    lines = [
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{y + 4}" y2="{bottom}"/>'
        for x in (_x(value, low, high) for value in (low, (low + high) / 2, high))
    ]
    return "".join(lines) + _ticks(y - 8, low, high)


def _ticks(y: float, low: float, high: float) -> str:
    return "".join(
        f'<text class="axis" text-anchor="middle" x="{_x(value, low, high):.1f}" y="{y + 16}">{value:g}</text>'
        for value in (low, (low + high) / 2, high)
    )


def _x(value: float, low: float, high: float) -> float:
    return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"{name[:25]}…"
