"""What a classifier's labels are: by the labels of its training file. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from llmos_server.data.examples import Label
from llmos_server.errors import InvalidRequest

Problem = Literal["single_label_classification", "multi_label_classification", "regression"]
KINDS: dict[type, Problem] = {
    str: "single_label_classification",
    list: "multi_label_classification",
    float: "regression",
}


@dataclass(frozen=True)
class Classes:
    """names: in the order of the head's outputs."""

    problem: Problem
    names: list[str]

    def target(self, label: Label) -> int | float | list[float]:
        """As Transformers' models take it. Raises InvalidRequest for a label that isn't one of the training file's."""
        if self.problem == "regression":
            return float(cast(float, label))
        given = [label] if isinstance(label, str) else list(cast(list[str], label))
        for name in given:
            if name not in self.names:
                raise InvalidRequest(f"The label {name!r:.100} isn't in the training file.", param="validation_file")
        if self.problem == "single_label_classification":
            return self.names.index(given[0])
        return [float(name in given) for name in self.names]


def find_classes(labels: Sequence[Label], problem: str) -> Classes:
    """problem: a Problem, or "auto". Raises InvalidRequest for labels that aren't all of one kind, or of that one."""
    kinds = {KINDS[type(label)] for label in labels}
    if len(kinds) > 1:
        raise InvalidRequest("Labels are all words, all lists of words, or all numbers.", param="training_file")
    (found,) = kinds
    if problem not in ("auto", found):
        raise InvalidRequest(f"problem_type: the labels are those of {found}, not of {problem}.", param="problem_type")
    if found == "regression":
        return Classes(found, ["score"])
    names = {name for label in labels for name in ([label] if isinstance(label, str) else cast(list[str], label))}
    if len(names) < 2:
        raise InvalidRequest("There is one label only, so there is nothing to tell apart.", param="training_file")
    return Classes(found, sorted(names))
