"""A completion on the wire: the whole object, or chunks of the same shape."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from llmos_server.api.completions.legacy_logprobs import OffsetCounter, join, of_prompt, of_tokens, shown_prompt
from llmos_server.api.completions.plan import Prompt
from llmos_server.api.generation.answers import Answer
from llmos_server.api.generation.stops import stop_reason
from llmos_server.api.http.event_stream import encode, frame
from llmos_server.api.schemas.common import Usage
from llmos_server.api.schemas.completions import Completion, CompletionChoice, CompletionRequest, LegacyLogprobs
from llmos_server.chat.deltas import TextDelta


class ChoiceWriter:
    """One choice's pieces in order: the echoed prompt, then its text, with offsets that go on."""

    def __init__(self, answer: Answer, data: CompletionRequest, prompts: Sequence[Prompt], index: int) -> None:
        self._answer = answer
        self._data = data
        self._place = index // answer.plan.n
        self._prompt = prompts[self._place]
        self._counter = OffsetCounter()
        self._skipped_ids = answer.plan.served.renderer.special_ids if answer.plan.skip_special_tokens else frozenset()

    def echo(self) -> tuple[str, LegacyLogprobs | None]:
        """The prompt as the answer's beginning; nothing without echo."""
        if not self._data.echo:
            return "", None
        renderer = self._answer.plan.served.renderer
        ids = self._answer.plan.prompts[self._place]
        shown = shown_prompt(renderer, self._prompt, ids)
        if self._data.logprobs is None:
            return shown, None
        logprobs = self._answer.prompt_logprobs(self._place)
        piece = of_prompt(renderer, ids, logprobs, shown, self._counter, self._data.logprobs)
        self._counter.num_chars = len(shown)
        return shown, piece

    def piece(self, text: TextDelta) -> tuple[str, LegacyLogprobs | None]:
        """The stop token, which the text leaves out, is the last entry: clients cut the last one off as the answer."""
        if self._data.logprobs is None:
            return text.text, None
        piece = of_tokens(text.tokens or [], self._counter, self._data.logprobs, hidden_ids=self._skipped_ids)
        if text.stop_token is None:
            return text.text, piece
        hidden = frozenset({text.stop_token.token_id})
        ended = of_tokens([text.stop_token], self._counter, self._data.logprobs, hidden_ids=hidden)
        return text.text, join([piece, ended])


def to_completion(
    answer: Answer, texts: list[TextDelta], data: CompletionRequest, prompts: Sequence[Prompt]
) -> Completion:
    plan = answer.plan
    n = data.n or 1
    choices: list[CompletionChoice] = []
    for place in range(len(plan.prompts)):
        run = [[text for text in texts if text.index == place * plan.n + choice] for choice in range(plan.n)]
        best = run if plan.n == n else sorted(run, key=_logprob_per_token, reverse=True)[:n]
        for rank, parts in enumerate(best):
            writer = ChoiceWriter(answer, data, prompts, place * plan.n)
            pieces = [writer.echo(), *(writer.piece(text) for text in parts)]
            choices.append(
                CompletionChoice(
                    index=place * n + rank,
                    text="".join(text for text, _ in pieces),
                    logprobs=None if data.logprobs is None else join([piece for _, piece in pieces if piece]),
                    finish_reason=parts[-1].finish_reason,
                    stop_reason=stop_reason(plan, parts[-1]),
                    format_error=parts[-1].format_error or msgspec.UNSET,
                    prompt_token_ids=plan.prompts[place] if plan.returns_ids else msgspec.UNSET,
                    token_ids=_generated(parts) if plan.returns_ids else msgspec.UNSET,
                )
            )
    return _completion(answer, choices, answer.usage())


def _generated(parts: list[TextDelta]) -> list[int]:
    return [token_id for part in parts for token_id in part.generated_ids]


def _logprob_per_token(parts: list[TextDelta]) -> float:
    logprobs = [token.logprob for text in parts for token in text.tokens or []]
    return sum(logprobs) / max(len(logprobs), 1)


def _completion(answer: Answer, choices: list[CompletionChoice], usage: Usage | msgspec.UnsetType | None) -> Completion:
    plan = answer.plan
    return Completion(
        id=plan.id,
        created=plan.created,
        model=plan.served.id,
        system_fingerprint=plan.served.fingerprint,
        choices=choices,
        usage=usage,
    )


class CompletionFrames:
    """Chunks of one answer. Rarer and smaller than chat's, so that each is a whole object, encoded by msgspec."""

    def __init__(self, answer: Answer, data: CompletionRequest, prompts: Sequence[Prompt]) -> None:
        options = data.stream_options
        self._answer = answer
        self._wants_usage = bool(options and options.include_usage)
        self._counts_always = bool(options and options.continuous_usage_stats)
        self._writers = [ChoiceWriter(answer, data, prompts, index) for index in range(answer.plan.num_choices)]
        self._has_begun = [False] * answer.plan.num_choices
        self._returns_ids = answer.plan.returns_ids

    def step(self, texts: list[TextDelta]) -> bytes:
        written: list[bytes] = []
        for text in texts:
            writer = self._writers[text.index]
            is_first = not self._has_begun[text.index]
            pieces = [writer.echo()] if is_first else []
            self._has_begun[text.index] = True
            pieces.append(writer.piece(text))
            joined = "".join(piece for piece, _ in pieces)
            logprobs = [piece for _, piece in pieces if piece is not None]
            if joined or text.tokens or text.finish_reason is not None or self._returns_ids:
                written.append(self._chunk(text, joined, join(logprobs) if logprobs else None, is_first))
        return b"".join(written)

    def end(self) -> bytes:
        return frame(encode(_completion(self._answer, [], self._answer.usage()))) if self._wants_usage else b""

    def _chunk(self, text: TextDelta, joined: str, logprobs: LegacyLogprobs | None, is_first: bool) -> bytes:
        choice = CompletionChoice(
            index=text.index,
            text=joined,
            logprobs=logprobs,
            finish_reason=text.finish_reason,
            stop_reason=stop_reason(self._answer.plan, text),
            format_error=text.format_error or msgspec.UNSET,
        )
        if self._returns_ids:
            choice.token_ids = text.generated_ids
            if is_first:
                choice.prompt_token_ids = self._answer.plan.prompts[text.index // self._answer.plan.n]
        usage = self._answer.usage() if self._counts_always else None if self._wants_usage else msgspec.UNSET
        return frame(encode(_completion(self._answer, [choice], usage)))
