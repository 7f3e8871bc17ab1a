"""The verbs that measure models of a running server: eval run, list, report, perplexity, lm-eval."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from cyclopts import App, Parameter

from llmos_server.commands.shared import Switch, UrlFlag, format_time, print_json, print_table
from llmos_server.commands.where import on_server

evals = App(
    name="eval",
    help="Measure models of a running server.\n\nExample: llmos eval run capitals.yaml --model smollm2:135m",
    help_format="plaintext",
)

JsonFlag = Annotated[bool, Switch, Parameter(help="Print JSON.")]
Models = Annotated[
    list[str] | None, Parameter(name="--model", help="What to measure; again for more: they are compared.", negative="")
]
ReportFlag = Annotated[
    Path | None, Parameter(help="Write the report there: Markdown for a name that ends in .md, else a page of HTML.")
]


@evals.command
def run(
    file: Annotated[Path, Parameter(help="YAML or JSON: the fields of an eval, and data_source.")],
    /,
    *,
    model: Models = None,
    report: ReportFlag = None,
    json: JsonFlag = False,
    url: UrlFlag = None,
) -> None:
    """Run an eval from a file, with one model or several side by side.

    Example: llmos eval run capitals.yaml --model smollm2:135m --model smollm2:135m:capitals --report capitals.html
    """
    from llmos_server.eval_client import run_eval_file

    root = _root(url)
    done = run_eval_file(root, file, model or [])
    if report is not None:
        _write_report(root, done.eval_id, [run["id"] for run in done.runs], report)
    if json:
        print_json({"eval_id": done.eval_id, "runs": done.runs, "comparison": done.comparison})
        return
    print(f"{done.eval_id}\n")
    print_table([("RUN", "MODEL", "ITEMS", "ERRORS", "PASSED"), *map(_run_row, done.runs)])
    if done.comparison is not None:
        print()
        print_table([*_difference_rows(done.comparison)])


def _run_row(run: dict[str, Any]) -> tuple[str, ...]:
    counts = run["result_counts"]
    return (run["id"], run["model"] or "-", str(counts["total"]), str(counts["errored"]), str(counts["passed"]))


def _difference_rows(comparison: dict[str, Any]) -> list[tuple[str, ...]]:
    base, *others = (run["name"] for run in comparison["runs"])
    rows = [("SCORE", base, *(f"{other} MINUS {base}" for other in others))]
    for one in comparison["criteria"]:
        told = [f"{each['mean']:+.3f} ({each['low']:+.3f} to {each['high']:+.3f})" for each in one["differences"]]
        rows.append((one["testing_criteria"], f"{one['means'][0]['mean']:.3f}", *told))
    return rows


@evals.command(name="list")
def list_evals(*, json: JsonFlag = False, url: UrlFlag = None) -> None:
    """List the evals of this key, the newest first.

    Example: llmos eval list
    """
    found = on_server(_root(url), "GET", "/v1/evals?order=desc&limit=100")["data"]
    if json:
        print_json(found)
        return
    heads = ("ID", "NAME", "GRADERS", "MADE")
    names = [(one["id"], one["name"], ", ".join(each["name"] for each in one["testing_criteria"])) for one in found]
    made = [format_time(one["created_at"]) for one in found]
    print_table([heads, *((*name, when) for name, when in zip(names, made, strict=True))])


@evals.command
def report(
    eval_id: Annotated[str, Parameter(help="The eval's id.")],
    /,
    *runs: Annotated[str, Parameter(help="Ids of its completed runs; the first is the base.")],
    out: Annotated[
        Path | None, Parameter(help="Write it there; .md is Markdown, else HTML. Without it: print.")
    ] = None,
    url: UrlFlag = None,
) -> None:
    """Print the report of runs as Markdown, or write it.

    Example: llmos eval report eval_0a1b evalrun_2c3d evalrun_4e5f --out report.html
    """
    if out is None:
        print(_fetch_report(_root(url), eval_id, runs, "markdown"))
    else:
        _write_report(_root(url), eval_id, runs, out)


@evals.command
def perplexity(
    file: Annotated[Path, Parameter(help="A UTF-8 text.")],
    /,
    *,
    model: Models = None,
    tokens: Annotated[int, Parameter(help="How many of its tokens, at most.")] = 6144,
    json: JsonFlag = False,
    url: UrlFlag = None,
) -> None:
    """Measure how well served models foretell a text, over the API (echo and logprobs).

    Example: llmos eval perplexity book.txt --model smollm2:135m
    """
    from llmos_server.commands.measuring import read_text
    from llmos_server.eval_client import measure_perplexity

    root = _root(url)
    found = measure_perplexity(root, model or [_first_model(root)], read_text(file), tokens)
    if json:
        print_json([{**each._asdict()} for each in found])
        return
    rows = [("MODEL", "TOKENS", "PERPLEXITY", "95 % INTERVAL", "BITS PER BYTE")]
    for each in found:
        told = each.perplexity
        interval = f"{told.low:.3f} to {told.high:.3f}"
        rows.append((each.model, str(each.num_tokens), f"{told.mean:.3f}", interval, f"{each.bits_per_byte:.4f}"))
    print_table(rows)


@evals.command(name="lm-eval")
def lm_eval(
    *tasks: Annotated[str, Parameter(help="Tasks of lm-evaluation-harness, by name.")],
    model: Annotated[str | None, Parameter(help="What to measure; the server's first model without it.")] = None,
    folder: Annotated[Path | None, Parameter(help="With tasks of one's own, as the harness's YAML.")] = None,
    fewshot: Annotated[int | None, Parameter(help="Examples before each question; else as the task says.")] = None,
    limit: Annotated[int | None, Parameter(help="Only the first so many questions of each task.")] = None,
    concurrency: Annotated[int, Parameter(help="Requests at a time.")] = 4,
    json: JsonFlag = False,
    url: UrlFlag = None,
) -> None:
    """Run tasks of lm-evaluation-harness on a model of a running server (pip install 'llmos[harness]').

    Example: llmos eval lm-eval arc_easy hellaswag --model smollm2:135m --limit 100
    """
    from llmos_server.errors import InvalidRequest
    from llmos_server.eval_client import create_server_client

    try:
        from llmos_server.lm_harness import run_tasks
    except ImportError as error:
        raise InvalidRequest(
            f"lm-evaluation-harness isn't installed here ({error}): pip install 'llmos[harness]'"
        ) from None
    if not tasks:
        raise InvalidRequest("Name a task at least, such as arc_easy.")
    root = _root(url)
    chosen = model or _first_model(root)
    found = run_tasks(
        create_server_client(root),
        chosen,
        tasks,
        folder=None if folder is None else str(folder),
        num_fewshot=fewshot,
        limit=limit,
        concurrency=concurrency,
    )
    if json:
        print_json({"model": chosen, **found})
        return
    rows = [("TASK", "METRIC", "VALUE", "STDERR")]
    for task, figures in found["results"].items():
        rows += [(task, *row) for row in _figure_rows(figures)]
    print_table(rows)


def _figure_rows(figures: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Of one task: the harness calls them "acc,none" and "acc_stderr,none"."""
    rows = []
    for name, value in figures.items():
        metric, comma, way = name.partition(",")
        if comma and not metric.endswith("_stderr") and isinstance(value, int | float):
            error = figures.get(f"{metric}_stderr,{way}")
            told = f"{error:.4f}" if isinstance(error, int | float) else "-"
            rows.append((metric if way == "none" else name, f"{value:.4f}", told))
    return rows


def _fetch_report(root: str, eval_id: str, runs: Any, form: str) -> str:
    from llmos_server.eval_client import fetch

    return fetch(root, f"/v1/evals/{quote(eval_id, safe='')}/report?runs={quote(','.join(runs))}&format={form}")


def _write_report(root: str, eval_id: str, runs: Any, path: Path) -> None:
    from llmos_server.errors import SettingsError

    text = _fetch_report(root, eval_id, runs, "markdown" if path.suffix == ".md" else "html")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: can't be written ({error.strerror}).") from None
    print(f"Report: {path}", file=sys.stderr)


def _first_model(root: str) -> str:
    return str(on_server(root, "GET", "/v1/models")["data"][0]["id"])


def _root(url: str | None) -> str:
    from llmos_server.http_client import base_url

    return base_url(url).removesuffix("/v1")
