"""`llmos calibrate-labels`: how far a served model's probabilities can be trusted, and what corrects them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import httpx2
import msgspec
from cyclopts import Parameter

from llmos_plugins.classification.calibration import Calibration
from llmos_plugins.classification.measuring import calibrate, to_body, to_scores
from llmos_plugins.classification.rows import Row

KINDS = ("single", "multiple")


def run(
    output: Annotated[Path, Parameter(help="File to write.")],
    /,
    *,
    model: Annotated[str | None, Parameter(help="Model to calibrate; the server's default without it.")] = None,
    url: Annotated[str, Parameter(help="The server.")] = "http://127.0.0.1:8000",
    concurrency: Annotated[int, Parameter(help="Texts at a time.")] = 4,
) -> None:
    """Calibrate the skill classification for a model of a running server. A key is taken from LLMOS_API_KEY.

    Takes some minutes: 1,125 texts, each fold of them measured by what was fitted on the others.

    Example: llmos calibrate-labels calibration.json --model smollm2:135m
    """
    key = os.environ.get("LLMOS_API_KEY", "")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx2.Client(base_url=url, headers=headers, timeout=1800) as client, ThreadPoolExecutor(concurrency) as pool:
        asker = Asker(client, pool, model)
        found = [calibrate(kind, asker.score, **asker.of()) for kind in KINDS]  # type: ignore[arg-type]
    output.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    for calibration in found:
        print(describe(calibration))
    print(f"To use it: [plugins.classification] calibrations = [{str(output.absolute())!r}], and restart the server.")


class Asker:
    """Asks the server, and remembers which weights answered."""

    def __init__(self, client: httpx2.Client, pool: ThreadPoolExecutor, model: str | None) -> None:
        self._client = client
        self._pool = pool
        self._model = {} if model is None else {"model": model}
        self._of: dict[str, str] = {}

    def of(self) -> dict[str, str]:
        if not self._of:
            self._ask({"text": "x", "labels": ["a", "b"], "calibrated": False})
        return self._of

    def score(self, rows: Sequence[Row]) -> list[list[float]]:
        found = self._pool.map(lambda row: self._ask(to_body(row)), rows)
        return [to_scores(row, probabilities) for row, probabilities in zip(rows, found, strict=True)]

    def _ask(self, body: dict[str, Any]) -> dict[str, float]:
        try:
            reply = self._client.post("/v1/skills/classification/run", json={**body, **self._model})
        except httpx2.HTTPError as error:
            raise SystemExit(f"llmos calibrate-labels: {self._client.base_url} doesn't answer: {error}") from None
        if reply.status_code != 200:
            raise SystemExit(f"llmos calibrate-labels: the server refused ({reply.status_code}): {reply.text[:500]}")
        answer = reply.json()
        of = {name: answer[name] for name in ("model", "model_digest")} | {"skill_version": answer["version"]}
        if self._of and self._of != of:
            raise SystemExit("llmos calibrate-labels: the model or the skill changed meanwhile. Run it again.")
        self._of = of
        probabilities: dict[str, float] = answer["details"]["probabilities"]
        return probabilities


def describe(calibration: Calibration) -> str:
    of = f"{calibration.model}, {calibration.kind}: slope {calibration.slope:.3f}"
    on = f"{calibration.raw.num_rows} texts" + ("" if calibration.helps else "; it helps nothing, and is not applied")
    lines = [f"{of}, intercept {calibration.intercept:.3f}; {on}"]
    for name, found in (("raw", calibration.raw), ("calibrated", calibration.calibrated)):
        low, high = found.ece_interval
        lines.append(
            f"  {name:<11} accuracy {found.accuracy:.3f}, Brier {found.brier:.3f}, ECE {found.ece:.3f} "
            f"(95 %: {low:.3f} to {high:.3f})"
        )
        lines += [
            f"    {b.low:.1f} to {b.high:.1f}: {b.count:5d} times, {b.predicted:.3f} predicted, {b.observed:.3f} true"
            for b in found.bins
        ]
    return "\n".join(lines)
