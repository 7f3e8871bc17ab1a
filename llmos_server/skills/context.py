"""What a skill may ask of the server while it runs. api/skills/context.py is the one that serves, Skill's tests have
another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import msgspec

from llmos_server.contracts import ModelKind

if TYPE_CHECKING:
    from llmos_server.calibration.calibration import Calibration

T = TypeVar("T")

Messages = Sequence[Mapping[str, Any]]
"""As OpenAI's: {"role": "system" | "user" | "assistant", "content": text}."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A model's answer."""

    text: str
    finish_reason: Literal["stop", "length", "content_filter"]
    """length: max_tokens, or the model's context, cut it."""
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


class AnswerScore(msgspec.Struct, frozen=True, kw_only=True):
    """How likely a model finds one answer."""

    answer: str
    logprob: float
    """Sum over its tokens, before temperature."""
    num_tokens: int


class Classified(msgspec.Struct, frozen=True, kw_only=True):
    """What a classifier finds in one text."""

    probabilities: dict[str, float]
    """Of all its own labels, in its order."""
    is_one_of: bool
    """Its labels exclude each other, and the probabilities sum to 1; else each label fits or doesn't by itself."""


class ReplyCut(Exception):
    """A reply that has to have a form was cut by max_tokens or the model's context before it was complete."""


class SkillContext(Protocol):
    """The caller's request, seen from the skill: its model, its key, its place in the queue. Everything that a model
    is asked goes the way of chat completions: templates, filters, limits of keys, the ledger, fair turns.

    What these raise (the engine is busy, a text is too long, the key may not use the model) ends the run with the same
    error as in a chat, unless the skill catches it.
    """

    @property
    def model(self) -> str:
        """The model that answers where a call names none."""
        ...

    @property
    def model_digest(self) -> str: ...

    @property
    def model_kind(self) -> ModelKind:
        """Of `model`: one of the skill's model_kinds."""
        ...

    @property
    def max_model_len(self) -> int:
        """Tokens of prompt and answer together; of a classifier's input."""
        ...

    async def chat(
        self,
        messages: Messages,
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_p: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] = (),
        schema: Mapping[str, Any] | None = None,
        regex: str | None = None,
        choice: Sequence[str] | None = None,
        grammar: str | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """One answer. schema, regex, choice, grammar: at most one, what the answer has to be.

        on_text: called with each piece while the answer is written; context.write is one.
        """
        ...

    async def ask(self, messages: Messages, type: type[T], **options: Any) -> T:
        """One answer as a value of `type` (a struct, list[str], ...), whose JSON Schema the model follows. options:
        chat's. Raises ReplyCut."""
        ...

    async def score(self, messages: Messages, answers: Sequence[str], *, model: str | None = None) -> list[AnswerScore]:
        """The log-probability of each text as the begin of the model's answer to the messages, in order. Nothing is
        generated, and the prompt is computed once for all of them."""
        ...

    async def classify(self, texts: Sequence[str], *, model: str | None = None) -> list[Classified]:
        """What a classifier (a model with a classification head and labels of its own) finds in each text. model: else
        the skill's `classifier`, else `model`."""
        ...

    async def count_tokens(self, text: str, *, model: str | None = None) -> int:
        """Of the text alone, without a chat template."""
        ...

    def calibration(self, name: str) -> Calibration | None:
        """What was measured of this skill's probabilities with `model`, in this version, as the task SKILL/name: by
        `llmos calibrate`, else what calibrations.json beside the skill's module has."""
        ...

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """For a client that streams. What it hasn't been sent when the next one comes is replaced."""
        ...

    def write(self, text: str) -> None:
        """The next piece of `result`, before the rest of it is known. `result`, which has to be a string then, has to
        begin with all that was written."""
        ...
