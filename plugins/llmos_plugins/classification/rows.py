"""Texts with known labels, made of templates with a seed: what calibrations are fitted to and measured on.

Fitting and measuring share no template. `python -m llmos_plugins.classification.rows` writes rows.jsonl again.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

FOLDER = Path(__file__).parent / "calibration"
SEED = 20260
SIZES = {"fit": 300, "held_out": 600}
"""Rows with one label; a quarter as many have several."""

Split = Literal["fit", "held_out"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    task: str
    """A task of templates.json, whose labels are to choose from."""
    split: Split
    text: str
    expected: list[str]
    """More than one, or one of several that might be: multiple is True."""
    multiple: bool = False


@cache
def read_templates() -> Any:
    return msgspec.json.decode((FOLDER / "templates.json").read_bytes())


def labels_of(task: str) -> list[dict[str, str]]:
    """As in the skill's input."""
    labels = read_templates()["tasks"][task]["labels"]
    return [{"name": name, "description": description} for name, description in labels.items()]


def read_rows(split: Split, *, multiple: bool) -> list[Row]:
    lines = (FOLDER / "rows.jsonl").read_bytes().splitlines()
    rows = [msgspec.json.decode(line, type=Row) for line in lines]
    return [row for row in rows if row.split == split and row.multiple == multiple]


def make_rows() -> list[Row]:
    """The same at each call; no text twice."""
    chance = random.Random(SEED)
    rows: dict[str, Row] = {}
    for split, size in SIZES.items():
        for make, num_rows in ((_single, size), (_multiple, size // 4)):
            wanted = len(rows) + num_rows
            while len(rows) < wanted:
                row = make(chance, split)
                rows.setdefault(row.text, row)
    return list(rows.values())


def _single(chance: random.Random, split: Any) -> Row:
    task = chance.choice(list(read_templates()["tasks"]))
    label = chance.choice(list(read_templates()["tasks"][task]["templates"]))
    return Row(task=task, split=split, text=_sentence(chance, split, task, label), expected=[label])


def _multiple(chance: random.Random, split: Any) -> Row:
    """One to three topics, a sentence each."""
    known = list(read_templates()["tasks"]["topic"]["templates"])
    expected = chance.sample(known, chance.choice((1, 2, 2, 3)))
    text = " ".join(_sentence(chance, split, "topic", label) for label in expected)
    return Row(task="topic", split=split, text=text, expected=expected, multiple=True)


def _sentence(chance: random.Random, split: str, task: str, label: str) -> str:
    templates = read_templates()["tasks"][task]["templates"][label]
    template = chance.choice(templates[::2] if split == "fit" else templates[1::2])
    filled = {name: chance.choice(values) for name, values in read_templates()["slots"].items()}
    return str(template.format(**filled))


if __name__ == "__main__":
    lines = [msgspec.json.encode(row) for row in make_rows()]
    (FOLDER / "rows.jsonl").write_bytes(b"\n".join(lines) + b"\n")
