"""A report as one page of HTML, with its plots, and without scripts or anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from llmos_server.evaluation.report.figures import Report
from llmos_server.evaluation.report.svg import draw_means, draw_reliability, draw_spread
from llmos_server.evaluation.report.telling import (
    NOTE,
    Row,
    difference_rows,
    further_rows,
    item_rows,
    mean_rows,
    run_rows,
)

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What the page may load: nothing."""
STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 } td, th { text-align: left; vertical-align: top }
td, th { padding: .3rem .7rem; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent) }
td { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 5rem } svg { max-width: 100%; height: auto }
"""


def write_html(report: Report) -> str:
    parts = [f"<h1>{escape(report.title)}</h1><p>Made {escape(report.made)}.</p>", table(run_rows(report))]
    parts += ["<h2>Scores</h2>", f"<p>{escape(NOTE)}</p>", table(mean_rows(report)), draw_means(report.runs)]
    parts.append(_section("How the scores are spread", draw_spread(report.runs)))
    if report.comparison is not None:
        told = f"Over {report.comparison.num_items} items; {report.comparison.num_left_out} are left out."
        parts += ["<h2>Side by side</h2>", f"<p>{told}</p>", table(difference_rows(report))]
    further = list(further_rows(report))
    if len(further) > 1:
        parts.append(_section("Figures of the whole set", table(further)))
    parts.append(_section("How far the answers' probabilities can be trusted", draw_reliability(report.runs)))
    title, rows = item_rows(report)
    parts.append(f"<h2>{escape(title)}</h2>{table(rows) if len(rows) > 1 else '<p>None.</p>'}")
    head = f'<meta charset="utf-8"><title>{escape(report.title)}</title><style>{STYLE}</style>'
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    return f'<!doctype html><html lang="en"><head>{policy}{head}</head><body>{"".join(parts)}</body></html>\n'


def table(rows: Iterable[Row]) -> str:
    cells = [[escape(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    head = "".join(f"<th>{cell}</th>" for cell in cells[0])
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in cells[1:])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}" if content else ""
