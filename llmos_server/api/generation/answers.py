"""A request that runs: what the engine's deltas add up to, as text, with counts, times and the end of every choice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from llmos_server.api.flights import Details, Progress
from llmos_server.api.generation.answer_guard import AnswerGuard
from llmos_server.api.generation.merging import Merged
from llmos_server.api.generation.plans import Plan
from llmos_server.api.metrics.server_metrics import ModelMetrics
from llmos_server.api.schemas.common import CompletionTokensDetails, PromptTokensDetails, Usage
from llmos_server.chat.answer_check import AnswerCheck
from llmos_server.chat.answer_parser import AnswerParser
from llmos_server.chat.choice import ChoiceDecoder
from llmos_server.chat.deltas import TextDelta
from llmos_server.contracts import ChoiceDelta, Generation, TokenLogprob
from llmos_server.errors import EngineFailed
from llmos_server.key_contracts import UsageStatus

PROMPT_TAIL = 16
"""Prompt tokens that a choice's first text may depend on (an unfinished character, a leading space)."""


@dataclass(slots=True)
class PromptState:
    """One prompt's generation, and the decoders of its choices."""

    generation: Generation
    decoders: list[ChoiceDecoder]
    parsers: list[AnswerParser] | None
    last_delta: list[float]
    """When each choice's last delta came; 0.0 before its first."""
    first_token: float = 0.0
    num_cached_tokens: int = 0
    queue_seconds: float | None = None
    prefill_seconds: float | None = None
    logprobs: list[TokenLogprob | None] | None = None
    held: list[ChoiceDelta] = field(default_factory=list)
    """Deltas that came before the prompt's own log-probabilities, which every choice's text begins with."""


class Seconds(NamedTuple):
    """What a request took."""

    total: float
    load: float
    prefill: float
    """Of the prompt that took longest."""
    decode: float
    """From the first token on."""


class Answer:
    """Choices are numbered prompt-major: choice c of prompt p is p * n + c. Close it, whatever happens."""

    def __init__(self, plan: Plan, generations: list[Generation], metrics: ModelMetrics, arrival: float) -> None:
        """arrival: time.perf_counter() when the request came in."""
        self.plan = plan
        self.num_completion_tokens = 0
        self.num_reasoning_tokens = 0
        self.on_close: Callable[[], None] = lambda: None
        """Called once, by close()."""
        self.guard: AnswerGuard | None = None
        """Plugins' filters, which see every text before anybody else does."""
        self.on_tokens: Callable[[int], None] = lambda _: None
        """Called with the number of tokens that each text adds."""
        self.load_seconds = 0.0
        """That the request has waited for its model."""
        self._metrics = metrics
        self._arrival = arrival
        self._num_open = plan.num_choices
        self._closed = False
        self._failed = False
        self._given_up = False
        self._cut = False
        self._prompts = [
            PromptState(generation, self._create_decoders(place), self._create_parsers(), [0.0] * plan.n)
            for place, generation in enumerate(generations)
        ]
        needs_checks = plan.check is not None or bool(plan.call_checks)
        choices = range(plan.num_choices if needs_checks else 0)
        self._checks = [AnswerCheck(plan.check, plan.call_checks) for _ in choices]
        self._deltas = Merged(generations)
        metrics.prompt_tokens.inc(plan.num_prompt_tokens)

    def _create_decoders(self, place: int) -> list[ChoiceDecoder]:
        plan = self.plan
        return [
            ChoiceDecoder(
                plan.served.renderer,
                index=place * plan.n + choice,
                stop=plan.stop,
                min_tokens=plan.sampling.min_tokens,
                skip_special_tokens=plan.skip_special_tokens,
                shown_ids=plan.shown_ids,
                prompt_tail=plan.prompts[place][-PROMPT_TAIL:],
            )
            for choice in range(plan.n)
        ]

    def _create_parsers(self) -> list[AnswerParser] | None:
        create = self.plan.create_parser
        return None if create is None else [create() for _ in range(self.plan.n)]

    @property
    def is_over(self) -> bool:
        """Every choice has ended, with the texts that next() returned last."""
        return not self._num_open

    async def next(self) -> list[TextDelta]:
        """What the engine's next step adds; empty once every choice has ended. Raises EngineFailed."""
        texts: list[TextDelta] = []
        try:
            while not texts and self._num_open:
                for place, deltas in await self._deltas.next():
                    texts += self._take(self._prompts[place], deltas)
            if self.guard is not None:
                texts = await self.guard.apply(texts)
                self._end_filtered(texts)
        except Exception:
            self._failed = not self._given_up
            raise
        return [await self._checks[text.index].feed(text) for text in texts] if self._checks else texts

    @property
    def status(self) -> UsageStatus:
        """How it ended, or would, if it were closed now."""
        if self._failed:
            return "error"
        if self._num_open:
            return "abort"
        return "length" if self._cut else "stop"

    @property
    def num_cached_tokens(self) -> int:
        return sum(state.num_cached_tokens for state in self._prompts)

    @property
    def queue_seconds(self) -> float | None:
        """Of the prompt that waited longest."""
        return max((s.queue_seconds for s in self._prompts if s.queue_seconds is not None), default=None)

    @property
    def seconds(self) -> Seconds:
        """So far."""
        now = time.perf_counter()
        first = min((state.first_token for state in self._prompts if state.first_token), default=now)
        known = [state.prefill_seconds for state in self._prompts if state.prefill_seconds is not None]
        prefill = max(known) if known else first - self._arrival - self.load_seconds
        return Seconds(now - self._arrival, self.load_seconds, prefill, now - first)

    def prompt_logprobs(self, place: int) -> list[TokenLogprob | None]:
        """Of prompt `place`; there before the first text of its choices is."""
        return self._prompts[place].logprobs or []

    def progress(self) -> Progress:
        """From what is counted anyway."""
        first, has_begun = 0.0, False
        for state in self._prompts:
            has_begun = has_begun or state.generation.has_begun
            if state.first_token and (not first or state.first_token < first):
                first = state.first_token
        return Progress(
            self.plan.num_prompt_tokens,
            self.num_cached_tokens if first else None,
            self.num_completion_tokens,
            self.plan.num_choices,
            has_begun,
            first - self._arrival if first else None,
            time.perf_counter() - first if first else 0.0,
        )

    def details(self) -> Details:
        return self.plan.details()

    def usage(self) -> Usage:
        prompt, completion = self.plan.num_prompt_tokens, self.num_completion_tokens
        usage = Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=self.num_cached_tokens),
            completion_tokens_details=CompletionTokensDetails(reasoning_tokens=self.num_reasoning_tokens),
        )
        if self.plan.num_dropped_messages:
            usage.dropped_messages = self.plan.num_dropped_messages
        return usage

    def abort(self) -> None:
        """Stop what still runs; next() then soon raises, unless all choices have ended."""
        self._given_up = True
        for state in self._prompts:
            state.generation.abort()

    def close(self) -> None:
        """Stop what still runs, so that its pages are free by the next step. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self.abort()
        self.on_close()
        self._deltas.close()
        for _ in range(self._num_open):
            self._metrics.count_finished("error" if self._failed else "abort")
        self._metrics.e2e_latency.observe(time.perf_counter() - self._arrival)

    def _take(self, state: PromptState, deltas: list[ChoiceDelta]) -> list[TextDelta]:
        if not deltas and not all(decoder.stopped for decoder in state.decoders):
            raise EngineFailed("The engine ended the request before it was finished. Send it again.")
        if self.plan.sampling.prompt_logprobs is not None and state.logprobs is None:
            state.held += deltas
            state.logprobs = next((d.prompt_logprobs for d in deltas if d.prompt_logprobs is not None), None)
            if state.logprobs is None:
                return []
            deltas = state.held
        now = time.perf_counter()
        texts: list[TextDelta] = []
        for delta in deltas:
            if delta.index == 0 and not state.first_token:
                self._observe_first(state, delta, now)
            decoder = state.decoders[delta.index]
            if decoder.stopped:
                continue
            self._observe_step(state, delta.index, now)
            text = decoder.feed(delta)
            if text is not None:
                if state.parsers is not None:
                    text = state.parsers[delta.index].feed(text)
                self._count(state, delta.index, decoder, text, now)
                texts.append(text)
        return texts

    def _end_filtered(self, texts: list[TextDelta]) -> None:
        """The model may have been about to go on."""
        for index in (text.index for text in texts if text.finish_reason == "content_filter"):
            state, choice = self._prompts[index // self.plan.n], index % self.plan.n
            if not state.decoders[choice].stopped:
                state.decoders[choice].stopped = True
                state.generation.abort(choice)
                self._num_open -= 1
                self._metrics.count_finished("content_filter")

    def _count(self, state: PromptState, choice: int, decoder: ChoiceDecoder, text: TextDelta, now: float) -> None:
        self.num_completion_tokens += text.num_tokens
        self.num_reasoning_tokens += text.num_reasoning_tokens
        self.on_tokens(text.num_tokens)
        self._cut = self._cut or text.finish_reason == "length"
        self._metrics.generation_tokens.inc(text.num_tokens)
        if text.finish_reason is None:
            return
        self._num_open -= 1
        self._metrics.count_finished(text.finish_reason)
        if decoder.stopped_by_string:
            state.generation.abort(choice)
        if all(other.stopped for other in state.decoders):
            self._metrics.decode_time.observe(now - state.first_token)

    def _observe_first(self, state: PromptState, delta: ChoiceDelta, now: float) -> None:
        state.first_token = now
        state.num_cached_tokens = delta.num_cached_tokens
        self._metrics.time_to_first_token.observe(now - self._arrival)
        if delta.queue_seconds is not None:
            state.queue_seconds = delta.queue_seconds
            self._metrics.queue_time.observe(delta.queue_seconds)
        if delta.prefill_seconds is not None:
            state.prefill_seconds = delta.prefill_seconds
            self._metrics.prefill_time.observe(delta.prefill_seconds)

    def _observe_step(self, state: PromptState, choice: int, now: float) -> None:
        if state.last_delta[choice]:
            self._metrics.inter_token_latency.observe(now - state.last_delta[choice])
        state.last_delta[choice] = now
