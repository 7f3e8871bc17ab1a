"""Skills without a server: a context whose model says what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from llmos_server.calibration.calibration import Calibration
from llmos_server.contracts import ModelKind
from llmos_server.skills.context import AnswerScore, Classified, Messages, Reply, ReplyCut
from llmos_server.skills.skill import Skill

T = TypeVar("T")
I = TypeVar("I", bound=msgspec.Struct)  # noqa: E741
O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741

Scripted = str | Reply | Exception
"""An answer's text, an answer with another finish_reason, or what is raised instead."""
PIECE = 7
"""Characters in each piece of an answer that is streamed."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One call of chat."""

    messages: list[dict[str, Any]]
    options: dict[str, Any]
    """Those that were given: max_tokens, schema, ..."""

    @property
    def text(self) -> str:
        """All that the model reads."""
        return "\n".join(str(message["content"]) for message in self.messages)


class ScriptedContext:
    """Implements SkillContext. replies: one after the other, or what a function makes of each call.

    score_of: the log-probability of an answer; without it, longer ones are less likely.
    classified: what a classifier, which the model is then, finds in a text. Afterwards `asked` holds all
    calls of chat, `progressed` and `written` what the skill told.
    """

    model = "scripted"
    model_digest = "sha256:scripted"

    def __init__(
        self,
        replies: Sequence[Scripted] | Callable[[Asked], Scripted],
        *,
        max_model_len: int = 2048,
        score_of: Callable[[str], float] = lambda answer: -float(len(answer)),
        classified: Callable[[str], Classified] | None = None,
        calibrations: Mapping[str, Calibration] | None = None,
    ) -> None:
        self.max_model_len = max_model_len
        self.asked: list[Asked] = []
        self.progressed: list[tuple[float, float | None, str]] = []
        self.written = ""
        self._replies = replies
        self._score_of = score_of
        self.model_kind: ModelKind = "decoder" if classified is None else "classifier"
        self._classified = classified
        self._calibrations = calibrations or {}

    async def chat(self, messages: Messages, *, on_text: Callable[[str], None] | None = None, **options: Any) -> Reply:
        """The next reply; a function's may depend on what is asked, so that calls at once get theirs in any order."""
        asked = Asked(messages=[dict(message) for message in messages], options=options)
        self.asked.append(asked)
        reply = self._next(asked)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, str):
            reply = Reply(text=reply, finish_reason="stop", model=self.model)
        for start in range(0, len(reply.text), PIECE):
            if on_text is not None:
                on_text(reply.text[start : start + PIECE])
        return reply

    async def ask(self, messages: Messages, type: type[T], **options: Any) -> T:
        reply = await self.chat(messages, schema=msgspec.json.schema(type), **options)
        if reply.finish_reason != "stop":
            raise ReplyCut(f"the answer ended with {reply.finish_reason} before it was complete")
        return msgspec.json.decode(reply.text, type=type)

    async def score(self, messages: Messages, answers: Sequence[str], *, model: str | None = None) -> list[AnswerScore]:
        return [AnswerScore(answer=answer, logprob=self._score_of(answer), num_tokens=1) for answer in answers]

    async def classify(self, texts: Sequence[str], *, model: str | None = None) -> list[Classified]:
        if self._classified is None:
            raise AssertionError("the skill asked a classifier, and `classified` is not given")
        return [self._classified(text) for text in texts]

    async def count_tokens(self, text: str, *, model: str | None = None) -> int:
        """One for each word."""
        return len(text.split())

    def calibration(self, name: str) -> Calibration | None:
        return self._calibrations.get(name)

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        self.progressed.append((done, total, note))

    def write(self, text: str) -> None:
        self.written += text

    def _next(self, asked: Asked) -> Scripted:
        if callable(self._replies):
            return self._replies(asked)
        if len(self.asked) > len(self._replies):
            raise AssertionError(f"the skill asked {len(self.asked)} times, with {len(self._replies)} replies to give")
        return self._replies[len(self.asked) - 1]


def try_skill(skill: Skill[I, O], input: Mapping[str, Any], context: ScriptedContext) -> O:
    """Run a skill as the server does: the input by its types, the output checked. Raises what the skill does, and
    msgspec.ValidationError for an input that its types refuse."""
    output = asyncio.run(skill.run(msgspec.convert(dict(input), skill.input_type), context))
    fields = msgspec.to_builtins(output)
    msgspec.convert(fields, skill.output_type)
    if context.written and not str(fields["result"]).startswith(context.written):
        raise AssertionError(f"{context.written!r} was written, and the result is {fields['result']!r}")
    return output
