"""Runs of one eval side by side: over the items that all of them have graded, with paired intervals."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

import msgspec

from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.metrics.bootstrap import Interval, interval_of_difference, interval_of_mean

PASSED = "passed"
SCORE = "score"


class Item(Protocol):
    """What came of one item, as the store has it."""

    @property
    def position(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def content(self) -> dict[str, Any]: ...


class Graded(msgspec.Struct, frozen=True):
    item: bytes
    """Its digest: the same place may hold another item in another run."""
    scores: dict[str, float] | None
    """By grader, with "passed" (1 or 0: all of them) and "score" (their mean). None where an error kept it from one."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """A grader's, "passed" or "score"."""
    means: list[Interval]
    """A run each."""
    differences: list[Interval]
    """Of each run but the first, minus the first one: paired."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    num_items: int
    num_left_out: int
    criteria: list[Compared]


async def read_scores(items: AsyncIterator[Any]) -> dict[int, Graded]:
    """By position. items: of one run; see Item."""
    return {item.position: grade_of(item) async for item in items}


def grade_of(item: Item) -> Graded:
    digest = hashlib.sha256(msgspec.json.encode(item.content["datasource_item"], order="sorted")).digest()
    results = item.content["results"]
    if item.status == "error":
        return Graded(digest, None)
    scores = {result["name"]: float(result["score"]) for result in results}
    mean = sum(scores.values()) / len(scores)
    return Graded(digest, {PASSED: float(item.status == "pass"), SCORE: mean, **scores})


def compare(runs: Sequence[dict[int, Graded]], criteria: Sequence[str]) -> Comparison:
    """criteria: the graders' names. Raises InvalidRequest where the runs are of different items, or have none in
    common."""
    places = sorted(set(runs[0]).union(*runs[1:]))
    for place in places:
        if len({run[place].item for run in runs if place in run}) != 1 or any(place not in run for run in runs):
            raise InvalidRequest(
                f"The runs are of different items (item {place} isn't the same in all), so they can't be compared. "
                "Give each run the same source.",
                param="runs",
                code="different_items",
            )
    graded = [[run[place].scores for run in runs] for place in places]
    rows = [[one for one in row if one is not None] for row in graded]
    kept = [row for row in rows if len(row) == len(runs)]
    if not kept:
        raise InvalidRequest("No item was graded in all of the runs.", param="runs", code="no_items")
    names = [PASSED, *criteria, *([SCORE] if len(criteria) > 1 else [])]
    return Comparison(
        num_items=len(kept),
        num_left_out=len(places) - len(kept),
        criteria=[_compare(name, kept, len(runs)) for name in names],
    )


def _compare(name: str, rows: Sequence[Sequence[dict[str, float]]], num_runs: int) -> Compared:
    columns = [[row[place][name] for row in rows] for place in range(num_runs)]
    return Compared(
        name=name,
        means=[interval_of_mean(column) for column in columns],
        differences=[interval_of_difference(columns[0], column) for column in columns[1:]],
    )
