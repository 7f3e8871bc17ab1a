"""The verb calibrate: how right a model's typed decisions are, and what makes their probabilities true."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from llmos_server.commands.shared import ConfigFlag, Switch, print_json, print_table, read_settings
from llmos_server.errors import InvalidRequest

if TYPE_CHECKING:
    from llmos_server.calibration import Calibration, Quality, Row, Table

MAX_IN_FLIGHT = 4


def calibrate(
    rows: Annotated[Path, Parameter(help="JSON lines: state, type, instructions, criteria, answer.")],
    /,
    *,
    model: Annotated[str | None, Parameter(help="The model; the server's default without it.")] = None,
    dry_run: Annotated[bool, Switch, Parameter(help="Measure only; change nothing.")] = False,
    json: Annotated[bool, Switch, Parameter(help="Print JSON.")] = False,
    url: Annotated[str | None, Parameter(help="The server's base URL; else LLMOS_URL, else this machine's.")] = None,
    config: ConfigFlag = None,
) -> None:
    """Measure typed decisions on labelled rows, and keep what calibrates them, for each type of question with 500 rows.

    Example: llmos calibrate rows.jsonl --model smollm2:135m
    """
    from llmos_server import calibration
    from llmos_server.http_client import base_url
    from llmos_server.registry.disk import write_atomic

    home = read_settings(config).home
    questions = read_rows(rows)
    digest, judged = ask_all(base_url(url), model, questions)
    found: dict[Any, Calibration] = {}
    for task, some in judged.items():
        if len(some) < calibration.MIN_ROWS:
            print(f"{task}: {len(some)} rows; {calibration.MIN_ROWS} are needed to calibrate.", file=sys.stderr)
            continue
        found[task] = calibration.calibrate(some, has_bias=task == "noul", measured=int(time.time()))
    if json:
        import msgspec

        print_json({"model_digest": digest, "calibrations": msgspec.to_builtins(found)})
    else:
        _print(found)
    if found and not dry_run:
        path = home / calibration.CALIBRATIONS
        table: Table = dict(calibration.CalibrationFile(path).table())
        table[digest] = {**table.get(digest, {}), **found}
        import msgspec

        write_atomic(path, msgspec.json.format(msgspec.json.encode(table)))
        print(f"llmos: kept in {path}; a server on this LLMOS_HOME uses it from now on.", file=sys.stderr)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Raises InvalidRequest that names the line."""
    import msgspec

    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InvalidRequest(f"{path}: can't be read ({error.strerror}).") from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=dict[str, Any])
            _truth(row)
        except (msgspec.MsgspecError, KeyError, ValueError, TypeError) as error:
            raise InvalidRequest(
                f"{path}, line {number}: {error}. A row is an object with state, type, instructions, criteria and "
                "answer (an option's name, a level's number, or true or false)."
            ) from None
        found.append(row)
    return found


def ask_all(url: str, model: str | None, rows: list[dict[str, Any]]) -> tuple[str, dict[str, list[Row]]]:
    """The model's digest, and the rows by type of question, with uncalibrated log-probabilities."""
    import asyncio
    import math

    from llmos_server.calibration import Row
    from llmos_server.http_client import check_status, create_client, errors_in_words

    async def run() -> list[dict[str, Any]]:
        places = asyncio.Semaphore(MAX_IN_FLIGHT)

        async def ask(row: dict[str, Any]) -> dict[str, Any]:
            question = {name: row[name] for name in ("type", "instructions", "criteria") if name in row}
            body = {"state": row["state"], "questions": {"q": question}, "calibrated": False}
            async with places:
                response = await client.post(f"{url}/systemone", json=body | ({"model": model} if model else {}))
                await check_status(response)
            answer: dict[str, Any] = response.json()
            return answer

        async with create_client(url, MAX_IN_FLIGHT) as client:
            return await asyncio.gather(*map(ask, rows))

    with errors_in_words(url):
        answers = asyncio.run(run())
    judged: dict[str, list[Row]] = {}
    for row, body in zip(rows, answers, strict=True):
        answer = body["answers"]["q"]
        found = [answer["noul"], 1 - answer["noul"]] if row["type"] == "noul" else [*answer["probabilities"].values()]
        scores = [math.log(max(probability, 1e-300)) for probability in found]
        judged.setdefault(row["type"], []).append(Row(scores, _truth(row)))
    return answers[0]["model_digest"] if answers else "", judged


def _truth(row: dict[str, Any]) -> int:
    """The place of the right option. Raises KeyError, ValueError or TypeError."""
    answer, task = row["answer"], row["type"]
    if task == "noul":
        if not isinstance(answer, bool):
            raise ValueError("the answer is not true or false")
        return 0 if answer else 1
    if task == "score":
        if type(answer) is not int or not 0 <= answer < len(row["criteria"]):
            raise ValueError("the answer is not the number of a level")
        return answer
    return list(row["criteria"]).index(answer)


def _print(found: dict[Any, Calibration]) -> None:
    def told(quality: Quality) -> tuple[str, ...]:
        interval = f"{quality.ece:.3f} ({quality.ece_low:.3f} to {quality.ece_high:.3f})"
        return f"{quality.accuracy:.1%}", f"{quality.brier:.4f}", interval

    rows: list[tuple[str, ...]] = [("TYPE", "ROWS", "PROBABILITIES", "ACCURACY", "BRIER", "ECE (95 %)")]
    for task, each in found.items():
        by = f"temperature {each.temperature:.2f}" + (f", bias {each.bias:+.2f}" if task == "noul" else "")
        rows.append((task, str(each.num_rows), "as they are", *told(each.raw)))
        rows.append(("", "", by, *told(each.calibrated)))
    print_table(rows)
