"""Keys of recipes whose examples a teacher writes. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from llmos_server.errors import InvalidRequest


@dataclass(frozen=True, kw_only=True)
class TeacherKeys:
    """With the defaults of what isn't said."""

    teacher_model_name_or_path: str = ""
    """As the teacher's server names it."""
    teacher_server: Literal["here", "environment"] = "here"
    """here: the server that runs the job. environment: the one of TEACHER_BASE_URL and TEACHER_API_KEY, which are
    variables of the process that runs it; so no recipe, job or log has a key in it."""
    teacher_temperature: float = 0.0
    teacher_max_tokens: int = 512
    """Of an answer. One that is longer is left out: it would teach to stop in the midst of a sentence."""
    teacher_num_answers: int = 1
    """To each prompt; equal ones are kept once."""
    teacher_concurrency: int = 4
    """Requests at a time."""


def read_teacher_keys(values: dict[str, Any], owner: str) -> TeacherKeys:
    """values: as training.recipe has checked them. owner: the job's. Raises InvalidRequest that names the key."""
    names = {field.name for field in fields(TeacherKeys)}
    keys = TeacherKeys(**{name: value for name, value in values.items() if name in names})
    if not keys.teacher_model_name_or_path:
        raise _refusal("teacher_model_name_or_path", "which model teaches? Name one that its server serves")
    if keys.teacher_server not in ("here", "environment"):
        raise _refusal("teacher_server", f"{keys.teacher_server!r} is neither here nor environment")
    if keys.teacher_server == "environment" and owner:
        raise _refusal("teacher_server", "the server's own access to others isn't for its keys; take here")
    if not 0 <= keys.teacher_temperature <= 2:
        raise _refusal("teacher_temperature", "it is from 0 to 2")
    if keys.teacher_num_answers > 1 and keys.teacher_temperature == 0:
        raise _refusal("teacher_num_answers", "at temperature 0 all answers are the same. Set teacher_temperature")
    for name in ("teacher_max_tokens", "teacher_num_answers", "teacher_concurrency"):
        if getattr(keys, name) < 1:
            raise _refusal(name, "it is at least 1")
    return keys


def _refusal(key: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{key}: {what}.", param=key)
