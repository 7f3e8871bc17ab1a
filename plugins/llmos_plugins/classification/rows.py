"""Texts with known labels, made of templates with a seed: what the default model's calibration was measured on.

`python -m llmos_plugins.classification.rows > rows.jsonl` writes them as `llmos calibrate` reads them. Templates lie in
folds: what was fitted on some is judged by sentences of others.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

SEED = 20260
NUM_FOLDS = 4
NUM_SINGLE, NUM_SEVERAL = 900, 600

Row = dict[str, Any]


@cache
def read_templates() -> Any:
    return msgspec.json.decode((Path(__file__).parent / "templates.json").read_bytes())


def make_rows() -> list[Row]:
    """The same at each call; no text twice."""
    chance = random.Random(SEED)
    return [*_make(_single, chance, NUM_SINGLE), *_make(_several, chance, NUM_SEVERAL)]


def _make(make: Callable[[random.Random], Row], chance: random.Random, num_rows: int) -> list[Row]:
    rows: dict[str, Row] = {}
    while len(rows) < num_rows:
        row = make(chance)
        rows.setdefault(row["text"], row)
    return list(rows.values())


def _single(chance: random.Random) -> Row:
    task = chance.choice(list(read_templates()["tasks"]))
    label = chance.choice(list(read_templates()["tasks"][task]["templates"]))
    fold = chance.randrange(NUM_FOLDS)
    place, text = _sentence(chance, task, label, fold)
    return _row(task, text, label, group=f"{task}/{label}/{place}", fold=fold)


def _several(chance: random.Random) -> Row:
    """One to three topics, a sentence each."""
    known = list(read_templates()["tasks"]["topic"]["templates"])
    expected = chance.sample(known, chance.choice((1, 2, 2, 3)))
    fold = chance.randrange(NUM_FOLDS)
    text = " ".join(_sentence(chance, "topic", label, fold)[1] for label in expected)
    return _row("topic", text, expected, group=text, fold=fold)


def _row(task: str, text: str, answer: str | list[str], *, group: str, fold: int) -> Row:
    """group: rows of one are made of one template, and so alike. fold: of the templates."""
    known = read_templates()["tasks"][task]["labels"]
    labels = [{"name": name, "description": description} for name, description in known.items()]
    return {"type": "labels", "text": text, "labels": labels, "answer": answer, "group": group, "fold": fold}


def _sentence(chance: random.Random, task: str, label: str, fold: int) -> tuple[int, str]:
    """With the template's place."""
    templates = read_templates()["tasks"][task]["templates"][label]
    place = chance.choice(range(fold, len(templates), NUM_FOLDS))
    filled = {name: chance.choice(values) for name, values in read_templates()["slots"].items()}
    return place, str(templates[place].format(**filled))


if __name__ == "__main__":
    for made in make_rows():
        sys.stdout.write(msgspec.json.encode(made).decode() + "\n")
