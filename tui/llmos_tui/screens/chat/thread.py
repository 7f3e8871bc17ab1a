"""What was said in one chat: questions and answers in their order, and how they are told to the model again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llmos_tui.wire.chat import Chunk, ChunkChoice, Token, Usage

AnswerState = Literal["waiting", "writing", "done", "stopped", "failed"]


@dataclass
class Call:
    """A tool that the model called. output: None until somebody has told it."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    output: str | None = None


@dataclass(eq=False)
class Question:
    """What the user wrote. item_ids: at the server, where it is saved."""

    text: str
    item_ids: list[str] = field(default_factory=list)


@dataclass
class Opinion:
    """What the user says of an answer. id: of the feedback that the server keeps, empty for none."""

    rating: int | None = None
    correction: str | None = None
    comment: str | None = None
    id: str = ""


@dataclass(eq=False)
class Answer:
    """What the model wrote in one turn. Times are seconds of a clock that only goes forward."""

    model: str
    text: str = ""
    reasoning: str = ""
    calls: list[Call] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    """Empty where their probabilities weren't asked for."""
    state: AnswerState = "done"
    finish_reason: str = ""
    format_error: str = ""
    error: str = ""
    remedy: str = ""
    """What to do about the error."""
    response_id: str = ""
    fingerprint: str = ""
    """Of model, tokenizer and template, as the server tells it."""
    asked: dict[str, Any] = field(default_factory=dict)
    """The request that it answers; empty for one of a saved chat."""
    usage: Usage | None = None
    begun: float = 0.0
    first: float | None = None
    """When its first token came."""
    last: float | None = None
    num_at_first: int = 0
    """Tokens that came together with the first one."""
    opinion: Opinion = field(default_factory=Opinion)
    item_ids: list[str] = field(default_factory=list)
    message_id: str = ""
    """The one of them that has the text."""

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "stopped", "failed")

    @property
    def is_empty(self) -> bool:
        return not (self.text or self.reasoning or self.calls)

    @property
    def ttft(self) -> float | None:
        """Seconds from the question to the first token, as they were seen here."""
        return None if self.first is None else self.first - self.begun

    @property
    def pace(self) -> float | None:
        """Tokens a second behind the first; None for too few of them."""
        if self.usage is None or self.first is None or self.last is None or self.last <= self.first:
            return None
        return (self.usage.completion_tokens - self.num_at_first) / (self.last - self.first)

    @property
    def open_call(self) -> Call | None:
        """The first one whose result is missing."""
        return next((call for call in self.calls if call.output is None), None) if self.is_over else None

    def take(self, chunk: Chunk, now: float) -> None:
        """What is new."""
        self.response_id = chunk.id or self.response_id
        self.model = chunk.model or self.model
        self.fingerprint = chunk.system_fingerprint or self.fingerprint
        self.usage = chunk.usage or self.usage
        for choice in chunk.choices:
            if self._take_choice(choice):
                self.state = "writing"
                self.last = now
                if self.first is None:
                    self.first = now
                    self.num_at_first = self.usage.completion_tokens if self.usage else 0

    def _take_choice(self, choice: ChunkChoice) -> bool:
        """Whether the model has written something."""
        delta = choice.delta
        self.text += delta.content or ""
        self.reasoning += delta.reasoning_content or ""
        for piece in delta.tool_calls or []:
            while len(self.calls) <= piece.index:
                self.calls.append(Call())
            call = self.calls[piece.index]
            call.id = piece.id or call.id
            call.name += piece.function.name or ""
            call.arguments += piece.function.arguments or ""
        if choice.logprobs is not None:
            self.tokens += choice.logprobs.content or []
        self.finish_reason = choice.finish_reason or self.finish_reason
        self.format_error = choice.format_error or self.format_error
        return bool(delta.content or delta.reasoning_content or delta.tool_calls)

    def messages(self) -> list[dict[str, Any]]:
        """As a chat's messages. A call without a result isn't told: no template takes one."""
        if self.is_empty:
            return []
        calls = [call for call in self.calls if call.output is not None]
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in calls
            ]
        elif not (self.text or self.reasoning):
            return []
        outputs = [{"role": "tool", "tool_call_id": call.id, "content": call.output} for call in calls]
        return [message, *outputs]


Entry = Question | Answer


@dataclass
class Thread:
    """One chat."""

    entries: list[Entry] = field(default_factory=list)
    removed_ids: list[str] = field(default_factory=list)
    """Items at the server of what was taken out, until they are deleted there, too."""

    @property
    def last_answer(self) -> Answer | None:
        return next((entry for entry in reversed(self.entries) if isinstance(entry, Answer)), None)

    @property
    def open_call(self) -> Call | None:
        last = self.entries[-1] if self.entries else None
        return last.open_call if isinstance(last, Answer) else None

    def cut(self, entry: Entry) -> None:
        """Take it out, and what follows it."""
        place = self.entries.index(entry)
        for gone in self.entries[place:]:
            self.removed_ids += gone.item_ids
        del self.entries[place:]

    def before(self, entry: Entry) -> Sequence[Entry]:
        return self.entries[: self.entries.index(entry)]

    def messages(self, system: str, until: Entry | None = None) -> list[dict[str, Any]]:
        """For the model: all of it, or what is before an entry."""
        found: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        for entry in self.entries if until is None else self.before(until):
            found += [{"role": "user", "content": entry.text}] if isinstance(entry, Question) else entry.messages()
        return found

    def copy(self) -> Thread:
        """The same words, saved nowhere and said nothing of."""
        entries: list[Entry] = []
        for entry in self.entries:
            if isinstance(entry, Question):
                entries.append(Question(entry.text))
            elif entry.is_over:
                calls = [Call(call.id, call.name, call.arguments, call.output) for call in entry.calls]
                copied = Answer(entry.model, entry.text, entry.reasoning, calls, list(entry.tokens), entry.state)
                copied.error, copied.usage, copied.asked = entry.error, entry.usage, entry.asked
                entries.append(copied)
        return Thread(entries)
