"""What a skill is: a typed, versioned, measured job for a model. Plugins subclass Skill."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, get_args

import msgspec

from llmos_server.calibration.file import CALIBRATIONS, CalibrationFile
from llmos_server.contracts import ModelKind
from llmos_server.skills.cases import Case, Outcome, read_cases
from llmos_server.skills.context import SkillContext
from llmos_server.skills.prompts import Prompts

I = TypeVar("I", bound=msgspec.Struct)  # noqa: E741
O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741

NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
RESERVED = frozenset({"model", "stream"})
"""Fields of a run's body that are not the skill's."""


class InputError(Exception):
    """Raised by a skill for an input that it can't take: the client gets a 400 that names the field."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class Skill(ABC, Generic[I, O]):
    """One instance serves all runs, several at a time, each in a thread of its own: keep a run's state in run().

    Files lie beside the class's module: prompts/*.md (see Prompts), cases.jsonl (see Case) and calibrations.json (see
    SkillContext.calibration).
    """

    name: ClassVar[str]
    version: ClassVar[str]
    """Change it with everything that changes answers: prompts, too. Scores are kept by it."""
    description: ClassVar[str]
    """For people and for models that may call it: what it does, and when to use it."""
    input_type: type[I]
    """A struct. Its fields are the body of a run; they can't be called model or stream."""
    output_type: type[O]
    """A struct with a field `result`: what the answer is about; the other fields are its `details`."""
    text_field: ClassVar[str] = "text"
    """The input's field of type str that a chat's last message, and the command line's argument, become."""
    chat_defaults: Mapping[str, Any] = {}
    """Fields of the input that a chat (skill:NAME) gets where its metadata has none: chat programs can't send any."""
    model: str | None = None
    """Asked where a run names no model; None: the server's default."""
    model_kinds: ClassVar[frozenset[ModelKind]] = frozenset({"decoder"})
    """Kinds of model that a run may have; SkillContext.model_kind tells which it is."""
    classifier: str | None = None
    """Asked by SkillContext.classify where a call names none; None: the run's model."""
    metric: ClassVar[str] = ""
    """Which of measure()'s figures counts; larger is better."""
    minimum_score: ClassVar[float | None] = None
    """Of that figure; an answer of a model that was measured below it says so."""
    timeout_seconds: ClassVar[float] = 600.0

    @abstractmethod
    async def run(self, input: I, context: SkillContext) -> O:
        """Raises InputError for what the types can't tell."""

    def measure(self, outcomes: Sequence[Outcome[I, O]]) -> dict[str, float]:
        """Figures over the whole case set, runs that failed included."""
        raise NotImplementedError(f"{self.name} has no measure")

    @property
    def folder(self) -> Path:
        """Where prompts and cases lie."""
        return Path(inspect.getfile(type(self))).parent

    @cached_property
    def prompts(self) -> Prompts:
        return Prompts(self.folder / "prompts")

    @cached_property
    def calibrations(self) -> CalibrationFile:
        """Those that come with it; the server's own win."""
        return CalibrationFile(self.folder / CALIBRATIONS)

    def cases(self) -> list[Case]:
        """None where there is no cases.jsonl. Raises ValueError that names the line."""
        return read_cases(self.folder / "cases.jsonl", self.input_type)


def check_skill(skill: Skill[Any, Any]) -> None:
    """Raises ValueError that says what the author has to change."""
    kind = type(skill).__name__
    for attribute in ("name", "version", "description", "input_type", "output_type"):
        if not getattr(skill, attribute, None):
            raise ValueError(f"{kind} has no {attribute}")
    if not NAME.fullmatch(skill.name):
        raise ValueError(f"{kind}.name is {skill.name!r}; take lower-case letters, digits, _ and -, a letter first")
    inputs, outputs = _fields(kind, "input_type", skill.input_type), _fields(kind, "output_type", skill.output_type)
    if taken := RESERVED & inputs.keys():
        raise ValueError(f"{kind}.input_type has a field {min(taken)!r}, which every run's body has already")
    if inputs.get(skill.text_field) not in (str, str | None) and not _is_text(inputs.get(skill.text_field)):
        raise ValueError(f"{kind}.text_field is {skill.text_field!r}, which is no field of type str of input_type")
    if "result" not in outputs:
        raise ValueError(f"{kind}.output_type has no field 'result'")
    if unknown := skill.chat_defaults.keys() - inputs.keys():
        raise ValueError(f"{kind}.chat_defaults has {min(unknown)!r}, which is no field of input_type")
    if skill.minimum_score is not None and not skill.metric:
        raise ValueError(f"{kind} has a minimum_score and no metric that it is of")
    if not skill.model_kinds or not skill.model_kinds <= set(get_args(ModelKind)):
        known = ", ".join(get_args(ModelKind))
        raise ValueError(f"{kind}.model_kinds is {set(skill.model_kinds)}; take some of: {known}")
    if not inspect.iscoroutinefunction(skill.run):
        raise ValueError(f"{kind}.run has to be: async def run(self, input, context)")


def _fields(kind: str, attribute: str, struct: Any) -> dict[str, Any]:
    if not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
        raise ValueError(f"{kind}.{attribute} has to be a msgspec.Struct")
    try:
        msgspec.json.schema(struct)
    except TypeError as error:
        raise ValueError(f"{kind}.{attribute} can't be described as a JSON Schema: {error}") from None
    return {field.encode_name: field.type for field in msgspec.structs.fields(struct)}


def _is_text(hint: Any) -> bool:
    """Annotated[str, ...]."""
    return getattr(hint, "__origin__", None) is str
