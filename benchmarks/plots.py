"""Draws what benchmarks/growth.py has measured: SVG that reads in light and dark, by hand, so that nothing is needed.

usage: python benchmarks/plots.py NAME=FILE.json [NAME=FILE.json ...] [--folder docs/images]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

WIDTH, HEIGHT = 680, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 180, 40, 48
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.grid { stroke: #d0d7de; stroke-width: 1 }
.line { fill: none; stroke-width: 2 }
.s0 { stroke: #0969da } .s1 { stroke: #bc4c00 } .s2 { stroke: #1a7f37 } .s3 { stroke: #8250df }
.d0 { fill: #0969da } .d1 { fill: #bc4c00 } .d2 { fill: #1a7f37 } .d3 { fill: #8250df }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .grid { stroke: #3d444d }
  .s0 { stroke: #4493f8 } .s1 { stroke: #f0883e } .s2 { stroke: #3fb950 } .s3 { stroke: #ab7df8 }
  .d0 { fill: #4493f8 } .d1 { fill: #f0883e } .d2 { fill: #3fb950 } .d3 { fill: #ab7df8 }
}
"""
DASHES = ("none", "7 4", "2 4", "9 3 2 3")
"""Told apart without colours, too."""

Points = list[tuple[float, float]]


class Chart(NamedTuple):
    title: str
    x: str
    y: str
    series: dict[str, Points]
    doubles: bool = False
    """Each step to the right is twice as much."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="NAME=FILE", type=lambda text: text.split("=", 1))
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    args = parser.parse_args(arguments)
    measured = {name: json.loads(Path(path).read_text(encoding="utf-8")) for name, path in args.files}
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, chart in charts(measured).items():
        if any(chart.series.values()):
            (args.folder / f"{name}.svg").write_text(draw(chart), encoding="utf-8")
    return 0


def charts(measured: dict[str, Any]) -> dict[str, Chart]:
    def series(part: str, x: Callable[[Any], float], y: Callable[[Any], float], suffix: str = "") -> dict[str, Points]:
        return {name + suffix: [(x(each), y(each)) for each in found[part]] for name, found in measured.items()}

    rates = series("clients", lambda run: run["concurrency"], lambda run: run["output_tokens_per_second"])
    good = series("clients", lambda r: r["concurrency"], lambda r: r["goodput_tokens_per_second"], ", TTFT in limit")
    ttft = series("prompts", lambda each: each["prompt_tokens"], lambda each: each["ttft_ms"]["median"] / 1000)
    held = series("prompts", lambda each: each["tokens_held"] / 1000, lambda each: each["memory"][0])
    return {
        "throughput": Chart("Output tokens a second", "clients", "tok/s", rates | good, doubles=True),
        "ttft": Chart("Time to first token, one client", "prompt tokens", "s", ttft),
        "memory": Chart("Memory of all processes (PSS)", "thousand tokens computed since the start", "MB", held),
    }


def draw(chart: Chart) -> str:
    points = [point for series in chart.series.values() for point in series]
    xs = sorted({x for x, _ in points})
    top, step = scale(max(y for _, y in points))
    right, x_step = scale(xs[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        share = math.log2(x / xs[0]) / math.log2(xs[-1] / xs[0]) if chart.doubles else x / right
        return LEFT + share * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    x_marks = xs if chart.doubles else [x_step * n for n in range(round(right / x_step) + 1)]
    parts = [label(LEFT, 22, f"{chart.title}, {chart.y}", "start", "title")]
    for y in (step * n for n in range(round(top / step) + 1)):
        _, height = place(xs[0], y)
        parts.append(f'<path class="grid" d="M{LEFT} {height:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(label(LEFT - 8, height + 4, f"{y:,g}", "end"))
    parts += [label(place(x, 0)[0], HEIGHT - BOTTOM + 20, f"{x:,g}", "middle") for x in x_marks]
    parts.append(label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, chart.x, "middle"))
    ends = [place(*series[-1])[1] if series else 0.0 for series in chart.series.values()]
    heights = spread(ends)
    for number, (name, series) in enumerate(chart.series.items()):
        if not series:
            continue
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in series))
        dash = DASHES[number % len(DASHES)]
        parts.append(f'<polyline class="line s{number % 4}" stroke-dasharray="{dash}" points="{path}"/>')
        parts += [
            f'<circle class="d{number % 4}" r="3" cx="{p.split(",")[0]}" cy="{p.split(",")[1]}"/>' for p in path.split()
        ]
        parts.append(label(WIDTH - RIGHT + 10, heights[number] + 4, name, "start"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    return "\n".join((head, f"<title>{escape(chart.title)}</title><style>{STYLE}</style>", *parts, "</svg>", ""))


def scale(highest: float) -> tuple[float, float]:
    """A round number at or above it, and the distance of four to eight round marks."""
    magnitude = 10.0 ** math.floor(math.log10(highest or 1))
    step = next(m * magnitude for m in (0.2, 0.5, 1, 2) if highest / (m * magnitude) <= 8)
    return step * math.ceil(highest / step), step


def spread(heights: list[float]) -> list[float]:
    """The same places, so far apart that labels don't touch."""
    found = list(heights)
    last = -math.inf
    for number in sorted(range(len(heights)), key=lambda n: heights[n]):
        last = found[number] = max(heights[number], last + 16)
    return found


def label(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text{name} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
