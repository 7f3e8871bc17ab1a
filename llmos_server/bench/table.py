"""A report for people."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from llmos_server.bench.figures import Quantiles, Report


def print_report(report: Report) -> None:
    """A table on stdout, and below it the first error of each run that had one."""
    title = f"{report.model} at {report.options.url}"
    caption = f"ms: median/p99; good: the first text within {report.options.max_ttft_ms:.0f} ms"
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1))
    heads = ("in\nflight", "\nsent", "\nfailed", "output\ntok/s", "good\ntok/s", "total\ntok/s", "\ncached")
    for name in (*heads, "TTFT\nms", "ITL\nms", "end to end\nms"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in report.runs:
        cached = f"{100 * run.cached_tokens / run.prompt_tokens:.0f} %" if run.prompt_tokens else "-"
        rates = (run.output_tokens_per_second, run.goodput_tokens_per_second, run.total_tokens_per_second)
        times = (_cell(run.ttft_ms), _cell(run.itl_ms), _cell(run.e2e_ms))
        counts = (str(run.concurrency), str(run.num_requests), str(run.num_errors))
        table.add_row(*counts, *map(_rate, rates), cached, *times)
    console = Console()
    console.print(table)
    for run in report.runs:
        if run.first_error is not None:
            console.print(f"{run.concurrency} in flight: {run.first_error}", markup=False, highlight=False)


def _cell(value: Quantiles) -> str:
    if value.median is None or value.p99 is None:
        return "-"
    return f"{value.median:.0f}/{value.p99:.0f}"


def _rate(value: float) -> str:
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"
