"""Labelled rows of `llmos calibrate`: what a file holds, what a server is asked for each, what its answer says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from llmos_server.errors import InvalidRequest

if TYPE_CHECKING:
    from llmos_server.calibration.fitting import Row

SKILL = "classification"
SMALLEST = 1e-12
"""Probabilities are bounded by it where logarithms are taken of them."""


class Labelled(NamedTuple):
    fields: dict[str, Any]
    task: str
    """choice, score or noul of /v1/systemone; classification/one or classification/several of the skill."""
    group: str
    fold: int

    @property
    def path(self) -> str:
        return f"/skills/{SKILL}/run" if self.fields["type"] == "labels" else "/systemone"

    @property
    def body(self) -> dict[str, Any]:
        """Of a request for probabilities as they are."""
        fields = self.fields
        if fields["type"] == "labels":
            shape = {"multiple": self.task.endswith("several"), "separator": "", "calibrated": False}
            return {"text": fields["text"], "labels": fields["labels"], **shape}
        question = {name: fields[name] for name in ("type", "instructions", "criteria") if name in fields}
        return {"state": fields["state"], "questions": {"q": question}, "calibrated": False}

    def judge(self, answer: dict[str, Any]) -> list[Row]:
        """Log-probabilities but for a constant; of several labels, each one's odds."""
        from llmos_server.calibration.fitting import Row

        if self.fields["type"] != "labels":
            found = answer["answers"]["q"]
            noul = self.fields["type"] == "noul"
            chances = [found["noul"], 1 - found["noul"]] if noul else [*found["probabilities"].values()]
            return [Row([*map(_log, chances)], _truth(self.fields), self.group, self.fold)]
        chances_of: dict[str, float] = answer["details"]["probabilities"]
        names = _names(self.fields["labels"])
        if self.task.endswith("one"):
            return [Row([_log(chances_of[name]) for name in names], _truth(self.fields), self.group, self.fold)]
        return [
            Row([_log(chances_of[name]) - _log(1 - chances_of[name]), 0.0], int(not fits), self.group, self.fold)
            for name, fits in ((name, name in self.fields["answer"]) for name in names)
        ]


def read_rows(path: Path) -> list[Labelled]:
    """Raises InvalidRequest that names the line."""
    import msgspec

    from llmos_server.calibration.fitting import NUM_FOLDS

    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InvalidRequest(f"{path}: can't be read ({error.strerror}).") from None
    found: list[Labelled] = []
    folds: dict[str, dict[str, int]] = {}
    """Of each task's groups."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = msgspec.json.decode(line, type=dict[str, Any])
            task, group = _task(fields), str(fields.get("group", f"line {number}"))
            known = folds.setdefault(task, {})
            fold = known.setdefault(group, int(fields.get("fold", len(known) % NUM_FOLDS)))
        except (msgspec.MsgspecError, KeyError, ValueError, TypeError) as error:
            raise InvalidRequest(
                f"{path}, line {number}: {error}. A row is an object with state, type, instructions, criteria and "
                "answer (an option's name, a level's number, or true or false), or with type labels, text, labels and "
                "answer (a label's name, or a list of names)."
            ) from None
        found.append(Labelled(fields, task, group, fold))
    return found


def _task(fields: dict[str, Any]) -> str:
    """Raises KeyError, ValueError or TypeError for a row that can't be used."""
    _truth(fields)
    if fields["type"] != "labels":
        fields["state"]
        return str(fields["type"])
    fields["text"]
    return f"{SKILL}/several" if isinstance(fields["answer"], list) else f"{SKILL}/one"


def _truth(fields: dict[str, Any]) -> int:
    """The place of the right option; 0 for several labels. Raises KeyError, ValueError or TypeError."""
    answer, task = fields["answer"], fields["type"]
    if task == "noul":
        if not isinstance(answer, bool):
            raise ValueError("the answer is not true or false")
        return 0 if answer else 1
    if task == "score":
        if type(answer) is not int or not 0 <= answer < len(fields["criteria"]):
            raise ValueError("the answer is not the number of a level")
        return answer
    if task == "labels":
        names = _names(fields["labels"])
        places = [names.index(name) for name in (answer if isinstance(answer, list) else [answer])]
        return 0 if isinstance(answer, list) else places[0]
    if task != "choice":
        raise ValueError(f"the type is {task!r}")
    return list(fields["criteria"]).index(answer)


def _names(labels: list[Any]) -> list[str]:
    """Of labels as in the skill's input. Raises ValueError for those with labels below: each level is one's own."""
    if any(isinstance(label, dict) and label.get("labels") for label in labels):
        raise ValueError("a label has labels below it; calibrate each level by rows of its own")
    return [label["name"] if isinstance(label, dict) else label for label in labels]


def _log(probability: float) -> float:
    return math.log(max(probability, SMALLEST))
