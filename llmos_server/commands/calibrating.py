"""The verb calibrate: how far a model's probabilities can be trusted, and what makes them true."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from llmos_server.commands.shared import ConfigFlag, Switch, print_json, print_table, read_settings
from llmos_server.errors import LLMOSError

if TYPE_CHECKING:
    from llmos_server.calibration.calibration import Calibration, Reliability
    from llmos_server.calibration.file import Table
    from llmos_server.commands.calibration_rows import Labelled

MIN_ROWS = 500
"""Fewer say too little."""
MAX_IN_FLIGHT = 4


def calibrate(
    rows: Annotated[Path, Parameter(help="JSON lines: questions or texts with labels, and their right answers.")],
    /,
    *,
    model: Annotated[str | None, Parameter(help="The model; the server's default without it.")] = None,
    dry_run: Annotated[bool, Switch, Parameter(help="Measure only; change nothing.")] = False,
    json: Annotated[bool, Switch, Parameter(help="Print JSON.")] = False,
    url: Annotated[str | None, Parameter(help="The server's base URL; else LLMOS_URL, else this machine's.")] = None,
    config: ConfigFlag = None,
) -> None:
    """Measure typed decisions and the skill classification on labelled rows, and keep what calibrates their
    probabilities, for each kind of question with 500 rows.

    Example: llmos calibrate rows.jsonl --model smollm2:135m
    """
    import msgspec

    from llmos_server.calibration.file import CALIBRATIONS, CalibrationFile
    from llmos_server.commands.calibration_rows import read_rows
    from llmos_server.http_client import base_url
    from llmos_server.registry.disk import write_atomic

    home = read_settings(config).home
    questions = read_rows(rows)
    found = measure(questions, ask_all(base_url(url), model, questions), int(time.time()))
    if json:
        print_json(msgspec.to_builtins(found))
    else:
        print_found(found)
    if found and not dry_run:
        path = home / CALIBRATIONS
        table: Table = dict(CalibrationFile(path).table())
        for digest, some in found.items():
            table[digest] = {**table.get(digest, {}), **some}
        write_atomic(path, msgspec.json.format(msgspec.json.encode(table)))
        print(f"llmos: kept in {path}; a server on this LLMOS_HOME uses it from now on.", file=sys.stderr)


def ask_all(url: str, model: str | None, rows: Sequence[Labelled]) -> list[dict[str, Any]]:
    """The server's answer to each."""
    import asyncio

    from llmos_server.http_client import check_status, create_client, errors_in_words

    async def run() -> list[dict[str, Any]]:
        places = asyncio.Semaphore(MAX_IN_FLIGHT)

        async def ask(row: Labelled) -> dict[str, Any]:
            async with places:
                response = await client.post(url + row.path, json=row.body | ({"model": model} if model else {}))
                await check_status(response)
            answer: dict[str, Any] = response.json()
            return answer

        async with create_client(url, MAX_IN_FLIGHT) as client:
            return await asyncio.gather(*map(ask, rows))

    with errors_in_words(url):
        return asyncio.run(run())


def measure(rows: Sequence[Labelled], answers: Sequence[dict[str, Any]], measured: int) -> Table:
    """Raises LLMOSError if the model or the skill changed meanwhile."""
    from llmos_server.calibration.fitting import calibrate

    found: Table = {}
    for task in dict.fromkeys(row.task for row in rows):
        some = [(row, answer) for row, answer in zip(rows, answers, strict=True) if row.task == task]
        of = {(answer["model_digest"], answer.get("version", "")) for _, answer in some}
        if len(of) > 1:
            raise LLMOSError("The model or the skill changed meanwhile. Run it again.")
        if len(some) < MIN_ROWS:
            print(f"{task}: {len(some)} rows; {MIN_ROWS} are needed to calibrate.", file=sys.stderr)
            continue
        digest, version = of.pop()
        judged = [each for row, answer in some for each in row.judge(answer)]
        has_bias = len(judged) > len(some) or task in ("noul", "classification/several")
        calibration = calibrate(judged, has_bias=has_bias, num_rows=len(some), measured=measured, version=version)
        found.setdefault(digest, {})[task] = calibration
    return found


def print_found(found: Table) -> None:
    each = [(task, calibration) for some in found.values() for task, calibration in some.items()]
    rows: list[tuple[str, ...]] = [("KIND", "ROWS", "PROBABILITIES", "ACCURACY", "BRIER", "ECE (95 %)")]
    bins: list[tuple[str, ...]] = [("KIND", "PROBABILITIES", "FROM", "TO", "TIMES", "PREDICTED", "TRUE")]
    for task, calibration in each:
        rows += _quality(task, calibration)
        bins += _bins(task, calibration)
    print_table(rows)
    print()
    print_table(bins)


def _quality(task: str, calibration: Calibration) -> Iterator[tuple[str, ...]]:
    def told(found: Reliability) -> tuple[str, ...]:
        interval = f"{found.ece:.3f} ({found.ece_low:.3f} to {found.ece_high:.3f})"
        return f"{found.accuracy:.1%}", f"{found.brier:.4f}", interval

    by = f"temperature {calibration.temperature:.2f}, bias {calibration.bias:+.2f}"
    yield (task, str(calibration.num_rows), "as they are", *told(calibration.raw))
    yield ("", "", by if calibration.helps else f"{by} (helps nothing, isn't applied)", *told(calibration.calibrated))


def _bins(task: str, calibration: Calibration) -> Iterator[tuple[str, ...]]:
    for name, found in (("as they are", calibration.raw), ("calibrated", calibration.calibrated)):
        for each in found.bins:
            edges = f"{each.low:.1f}", f"{each.high:.1f}", str(each.count)
            yield task, name, *edges, f"{each.predicted:.3f}", f"{each.observed:.3f}"
