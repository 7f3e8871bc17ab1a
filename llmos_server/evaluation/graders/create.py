"""Descriptions into graders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.asking import Models
from llmos_server.evaluation.graders.by_model import LabelModelGrader, ScoreModelGrader
from llmos_server.evaluation.graders.multi import MultiGrader
from llmos_server.evaluation.graders.python import PythonGrader
from llmos_server.evaluation.graders.spec import (
    GraderSpec,
    LabelModel,
    Multi,
    Python,
    ScoreModel,
    Single,
    StringCheck,
    TextSimilarity,
)
from llmos_server.evaluation.graders.text import StringCheckGrader, TextSimilarityGrader
from llmos_server.evaluation.grading import Grader
from llmos_server.sandbox.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Means:
    """What graders work with."""

    models: Models
    sandbox: Sandbox | None = None
    """For python; None where the operator allows none."""


def create_graders(specs: Sequence[GraderSpec], means: Means, where: str = "testing_criteria") -> list[Grader]:
    """Raises InvalidRequest that names the field."""
    graders = [create_grader(spec, means, f"{where}[{place}]") for place, spec in enumerate(specs)]
    names = [grader.name for grader in graders]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidRequest(f"{where}: two of them are called {twice!r}.", param=where, code="duplicate_name")
    return graders


def create_grader(spec: GraderSpec, means: Means, where: str = "grader") -> Grader:
    """where: the field that holds it, for messages. Raises InvalidRequest."""
    match spec:
        case StringCheck():
            return StringCheckGrader(spec, where)
        case TextSimilarity():
            return TextSimilarityGrader(spec, means.models, where)
        case LabelModel():
            return LabelModelGrader(spec, means.models, where)
        case ScoreModel():
            return ScoreModelGrader(spec, means.models, where)
        case Python():
            return PythonGrader(spec, means.sandbox, where)
        case Multi():
            return _create_multi(spec, means, where)


def _create_multi(spec: Multi, means: Means, where: str) -> Grader:
    named = spec.graders
    if isinstance(named.get("type"), str):  # OpenAI's document has one grader here, its guide several by name.
        named = {str(named.get("name")): named}
    graders = {
        name: create_grader(_read(inner, f"{where}.graders.{name}"), means, f"{where}.graders.{name}")
        for name, inner in named.items()
    }
    return MultiGrader(spec, graders, where)


def _read(inner: object, where: str) -> Single:
    try:
        found: Single = msgspec.convert(inner, Single)
        return found
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{where}: {error}", param=where, code="invalid_value") from None
