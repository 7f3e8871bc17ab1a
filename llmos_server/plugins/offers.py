"""What plugins offer beside skills and filters; hookspecs.py says where their functions run, and for how long."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from llmos_server.skills.forms import inline_schema

TOOL_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A function that a model may call."""

    name: str
    description: str
    """For the model: when to call it, and what comes back."""
    input_type: type[msgspec.Struct]
    run: Callable[[Any], Awaitable[Any]]
    """Takes an input_type. Called in a thread of its own, on an event loop of its own. What it returns is told to the
    model: text, or anything that msgspec can write as JSON."""
    timeout_seconds: float = 60.0
    needs_approval: bool = False
    """Whoever asked is asked before each call, unless the request says otherwise."""


def tool_schema(tool: Tool) -> dict[str, Any]:
    """Of its arguments."""
    return inline_schema(msgspec.json.schema(tool.input_type))


def check_tool(tool: Tool) -> None:
    """Raises ValueError that says what the author has to change."""
    if not TOOL_NAME.fullmatch(tool.name):
        raise ValueError(f"the name {tool.name!r} has to be of 1 to 128 letters, digits, _, - and .")
    if not tool.description:
        raise ValueError(f"the tool {tool.name} has no description")
    if not (isinstance(tool.input_type, type) and issubclass(tool.input_type, msgspec.Struct)):
        raise ValueError(f"the tool {tool.name}: its input_type has to be a msgspec.Struct")
    try:
        tool_schema(tool)
    except TypeError as error:
        raise ValueError(f"the tool {tool.name}: input_type can't be described as a JSON Schema: {error}") from None


@dataclass(frozen=True, kw_only=True)
class ModelName:
    """Another name for a model."""

    name: str
    reference: str
    """As clients write it: "hf:org/name", "file:/path", "smollm2:135m"."""


class ModelSource(Protocol):
    """Fetches models by references "NAME:..."."""

    name: str

    def fetch(self, reference: str, folder: Any) -> None:
        """Write safetensors or a GGUF into the folder."""
        ...


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A measure over pairs of an answer and what was expected."""

    name: str
    measure: Callable[[list[tuple[str, str]]], float]


@dataclass(frozen=True, kw_only=True)
class Reward:
    """A grade of answers, for tuning by reinforcement; recipes name it in reward_funcs."""

    name: str
    grade: Callable[..., Sequence[float | None]]
    """As TRL calls reward functions, by keyword: `completions` and `prompts`, each a text or a list of messages, and
    for every column of the training file a list with a value for each. Takes what else there is as **others. Returns a
    number an answer, higher for better ones; None where it can't say."""
    columns: tuple[str, ...] = ()
    """Which it can't do without: a training file that lacks one is refused before the run."""

    @property
    def path(self) -> str:
        """Where the function is, as `trl` names it in reward_funcs."""
        return f"{self.grade.__module__}.{getattr(self.grade, '__qualname__', '')}"


def check_reward(reward: Reward) -> None:
    """Raises ValueError that says what the author has to change."""
    if not callable(reward.grade):
        raise ValueError(f"the reward {reward.name}: its grade has to be a function")


def check_recipe(path: Path) -> None:
    """Raises ValueError that says what the author has to change."""
    if path.suffix != ".yaml" or not path.is_file():
        raise ValueError(f"{path} has to be a file that ends with .yaml: Path(__file__).with_name('NAME.yaml')")


@dataclass(frozen=True, kw_only=True)
class RouteRequest:
    """What a route is called with."""

    query: Mapping[str, str]
    body: bytes
    key_id: str
    """ "" on a server that asks nobody for a key."""


@dataclass(frozen=True, kw_only=True)
class RouteAnswer:
    """content: anything that msgspec can write as JSON."""

    content: Any
    status: int = 200


@dataclass(frozen=True, kw_only=True)
class Route:
    """`METHOD /v1/llmos/plugins/PLUGIN/path`."""

    path: str
    """Without a slash at either end: "glossary" or "glossary/terms"."""
    handle: Callable[[RouteRequest], RouteAnswer]
    method: Literal["GET", "POST"] = "GET"
    deadline_seconds: float = 10.0
    needs_admin: bool = False

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, kw_only=True)
class Command:
    """`llmos NAME ...`: a function whose signature and docstring cyclopts reads. Names of built-in verbs are taken."""

    name: str
    run: Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Screen:
    """A screen of the terminal interface, `llmos tui`."""

    name: str
    create: Callable[[], Any]
    """Returns a Textual widget. Import Textual in here: the server loads plugins without it."""
    bindings: Mapping[str, str] = field(default_factory=dict)
    """Key -> "action: what it does", for action_... methods of the widget."""
