"""Texts with known labels, made of templates with a seed: what calibrations are fitted to and measured on.

Templates lie in folds: what was fitted on some is measured on sentences of others. `python -m
llmos_plugins.classification.rows` writes rows.jsonl again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

FOLDER = Path(__file__).parent / "calibration"
SEED = 20260
NUM_FOLDS = 4
NUM_SINGLE, NUM_MULTIPLE = 900, 225


class Row(msgspec.Struct, frozen=True, kw_only=True):
    task: str
    """A task of templates.json, whose labels are to choose from."""
    fold: int
    """All its sentences are made of templates of this fold."""
    group: str
    """Rows of one group are made of one template, and so alike."""
    text: str
    expected: list[str]
    multiple: bool = False
    """Any number of labels may have been right, though one may be all."""


@cache
def read_templates() -> Any:
    return msgspec.json.decode((FOLDER / "templates.json").read_bytes())


def labels_of(task: str) -> list[dict[str, str]]:
    """As in the skill's input."""
    labels = read_templates()["tasks"][task]["labels"]
    return [{"name": name, "description": description} for name, description in labels.items()]


def read_rows(*, multiple: bool) -> list[Row]:
    rows = [msgspec.json.decode(line, type=Row) for line in (FOLDER / "rows.jsonl").read_bytes().splitlines()]
    return [row for row in rows if row.multiple == multiple]


def make_rows() -> list[Row]:
    """The same at each call; no text twice."""
    chance = random.Random(SEED)
    return [*_make(_single, chance, NUM_SINGLE), *_make(_multiple, chance, NUM_MULTIPLE)]


def _make(make: Callable[[random.Random], Row], chance: random.Random, num_rows: int) -> list[Row]:
    rows: dict[str, Row] = {}
    while len(rows) < num_rows:
        row = make(chance)
        rows.setdefault(row.text, row)
    return list(rows.values())


def _single(chance: random.Random) -> Row:
    task = chance.choice(list(read_templates()["tasks"]))
    label = chance.choice(list(read_templates()["tasks"][task]["templates"]))
    fold = chance.randrange(NUM_FOLDS)
    place, text = _sentence(chance, task, label, fold)
    return Row(task=task, fold=fold, group=f"{task}/{label}/{place}", text=text, expected=[label])


def _multiple(chance: random.Random) -> Row:
    """One to three topics, a sentence each."""
    known = list(read_templates()["tasks"]["topic"]["templates"])
    expected = chance.sample(known, chance.choice((1, 2, 2, 3)))
    fold = chance.randrange(NUM_FOLDS)
    text = " ".join(_sentence(chance, "topic", label, fold)[1] for label in expected)
    return Row(task="topic", fold=fold, group=text, text=text, expected=expected, multiple=True)


def _sentence(chance: random.Random, task: str, label: str, fold: int) -> tuple[int, str]:
    """With the template's place."""
    templates = read_templates()["tasks"][task]["templates"][label]
    place = chance.choice(range(fold, len(templates), NUM_FOLDS))
    filled = {name: chance.choice(values) for name, values in read_templates()["slots"].items()}
    return place, str(templates[place].format(**filled))


if __name__ == "__main__":
    lines = [msgspec.json.encode(made) for made in make_rows()]
    (FOLDER / "rows.jsonl").write_bytes(b"\n".join(lines) + b"\n")
