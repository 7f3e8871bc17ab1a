"""An engine that says what it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from fake_renderer import EOS, ByteRenderer

from llmos_server.adapter_contracts import AdapterStats, LoadedAdapter
from llmos_server.contracts import (
    ChoiceDelta,
    EngineInfo,
    EngineState,
    EngineStats,
    GenerateRequest,
    PageLayout,
    ScoreRequest,
    Scores,
    TokenLogprob,
)
from llmos_server.engine.scoring import collect_scores


def logprob_of(token_id: int, position: int, num_top: int) -> TokenLogprob:
    """Made up, but a function of the token and its place."""
    value = -0.25 - (token_id * 7 + position * 13) % 40 / 16
    top = [((token_id + 3 * rank) % 256, value - rank / 8) for rank in range(num_top)]
    return TokenLogprob(token_id=token_id, logprob=value, top=top)


Script = Callable[[GenerateRequest, int], Sequence[int]]


class ScriptedGeneration:
    """Walks through the script, `tokens_per_step` at a time, all choices in the same step."""

    def __init__(self, generator: ScriptedGenerator, request: GenerateRequest) -> None:
        self.request_id = request.request_id
        self.request = request
        self.has_begun = False
        self.aborted = threading.Event()
        """Every choice was given up, by its index or altogether."""
        self.aborted_choices: set[int] = set()
        self._steps = self._run(generator)

    def __aiter__(self) -> AsyncIterator[list[ChoiceDelta]]:
        return self

    async def __anext__(self) -> list[ChoiceDelta]:
        return await anext(self._steps)

    def abort(self, index: int | None = None) -> None:
        self.aborted_choices |= set(range(self.request.n)) if index is None else {index}
        if len(self.aborted_choices) == self.request.n:
            self.aborted.set()

    async def _run(self, generator: ScriptedGenerator) -> AsyncIterator[list[ChoiceDelta]]:
        if generator.gate is not None:
            await generator.gate.wait()
        self.has_begun = True
        choices = [self._choice(generator, index) for index in range(self.request.n)]
        open_choices = dict(enumerate(choices))
        num_steps = 0
        while open_choices := {i: c for i, c in open_choices.items() if i not in self.aborted_choices}:
            if generator.fail_after is not None and num_steps >= generator.fail_after:
                raise generator.failure
            await asyncio.sleep(generator.step_seconds)
            num_steps += 1
            deltas = [next(choice) for choice in open_choices.values()]
            ended = {delta.index for delta in deltas if delta.finish_reason is not None}
            open_choices = {i: c for i, c in open_choices.items() if i not in ended}
            yield [delta for delta in deltas if delta.index not in self.aborted_choices]

    def _choice(self, generator: ScriptedGenerator, index: int) -> Iterator[ChoiceDelta]:
        sampling, request = self.request.sampling, self.request
        given = request.continuations[index] if request.continuations else None
        script = given or [*generator.script(request, index), EOS]
        extras: dict[str, Any] = {"queue_seconds": 0.001, "prefill_seconds": 0.002} if index == 0 else {}
        if index == 0 and sampling.prompt_logprobs is not None:
            entries = [logprob_of(t, p, sampling.prompt_logprobs) for p, t in enumerate(request.prompt_ids)]
            extras["prompt_logprobs"] = [None, *entries[1:]]
        extras["num_cached_tokens"] = min(generator.num_cached_tokens, len(request.prompt_ids) - 1)
        token_ids: list[int] = []
        finish: dict[str, Any] = {"finish_reason": "length"} if sampling.max_tokens == 0 else {}
        place = count = 0
        while not finish:
            token = script[place % len(script)]
            place += 1
            if token in sampling.stop_token_ids and count >= sampling.min_tokens:
                finish = {"finish_reason": "stop", "stop_token_id": token}
                if sampling.logprobs is not None:
                    finish["stop_logprob"] = logprob_of(token, count, sampling.logprobs)
                break
            if token in sampling.stop_token_ids:
                continue
            token_ids.append(token)
            count += 1
            if count == (len(given) if given else sampling.max_tokens):
                finish = {"finish_reason": "length"}
            elif len(token_ids) == generator.tokens_per_step:
                yield self._delta(index, token_ids, count, extras)
                token_ids, extras = [], {}
        yield self._delta(index, token_ids, count, {**extras, **finish})

    def _delta(self, index: int, token_ids: list[int], count: int, extras: dict[str, Any]) -> ChoiceDelta:
        num_top = self.request.sampling.logprobs
        first = count - len(token_ids)
        logprobs = None
        if num_top is not None:
            logprobs = [logprob_of(token, first + place, num_top) for place, token in enumerate(token_ids)]
        return ChoiceDelta(
            request_id=self.request_id, index=index, token_ids=list(token_ids), logprobs=logprobs, **extras
        )


class ScriptedGenerator:
    """An engine that answers what it is told to.

    script: text, or a function of (request, choice index) to token ids; the end token follows. gate: nothing is
    generated before it is set. fail_after: raise `failure` after so many steps. submit_error: what submit raises.
    """

    def __init__(
        self,
        script: str | Script = "Hello",
        *,
        max_model_len: int = 400,
        tokens_per_step: int = 1,
        step_seconds: float = 0.0,
        state: EngineState = "ready",
    ) -> None:
        self.script: Script = (lambda request, index: list(script.encode())) if isinstance(script, str) else script
        self.tokens_per_step = tokens_per_step
        self.step_seconds = step_seconds
        self.state: EngineState = state
        self.stats = EngineStats(
            num_running=1,
            num_waiting=2,
            num_free_pages=6,
            num_pages=8,
            prefix_queries=30,
            prefix_hits=20,
            num_drafts=4,
            num_draft_tokens=15,
            num_accepted_tokens=9,
            num_cached_pages=4,
            num_shared_pages=1,
            adapters=AdapterStats(num_loaded=2, num_bytes=90, num_loads=3, num_evictions=1, load_seconds=0.5),
        )
        self.gate: asyncio.Event | None = None
        self.loaded = asyncio.Event()
        self.load_error: Exception | None = None
        self.submit_error: Exception | None = None
        self.fail_after: int | None = None
        self.failure: Exception = RuntimeError("not told")
        self.num_cached_tokens = 0
        self.num_holds = 0
        self.num_maps = 0
        self.adapters: list[LoadedAdapter] = []
        self.adapter_failure: Exception | None = None
        """Raised by load_adapter."""
        self.generations: list[ScriptedGeneration] = []
        self._info = EngineInfo(
            model_digest="sha256:" + "ab" * 32,
            architecture="scripted",
            dtype="float32",
            device="cpu",
            vocab_size=ByteRenderer.vocab_size,
            context_length=max_model_len,
            max_model_len=max_model_len,
            page_size=16,
            num_pages=8,
            load_seconds=0.0,
        )

    @property
    def info(self) -> EngineInfo | None:
        return None if self.state in ("loading", "failed") else self._info

    @property
    def requests(self) -> list[GenerateRequest]:
        return [generation.request for generation in self.generations]

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        self.num_holds += 1
        try:
            yield
        finally:
            self.num_holds -= 1

    @property
    def load_failure(self) -> str:
        return "The model could not be loaded: no tensors." if self.state == "failed" else ""

    async def wait_ready(self, timeout: float | None = None) -> EngineInfo:
        if self.state != "ready":
            await self.loaded.wait()
            if self.load_error is not None:
                raise self.load_error
            self.state = "ready"
        return self._info

    def submit(self, request: GenerateRequest) -> ScriptedGeneration:
        if self.submit_error is not None:
            raise self.submit_error
        generation = ScriptedGeneration(self, request)
        self.generations.append(generation)
        return generation

    async def load_adapter(self, digest: str) -> None:
        if self.adapter_failure is not None:
            raise self.adapter_failure
        self.adapters.append(LoadedAdapter(digest=digest, num_bytes=9))

    async def drop_adapter(self, digest: str) -> None:
        self.adapters = [one for one in self.adapters if one.digest != digest]

    async def map_pages(self) -> PageLayout:
        """Of `stats`; counted."""
        self.num_maps += 1
        return PageLayout(self.stats, "..ccccus")

    async def score(self, request: ScoreRequest) -> Scores:
        """Log-probabilities are logprob_of's."""
        return await collect_scores(request, self.submit(request.to_generate()))
