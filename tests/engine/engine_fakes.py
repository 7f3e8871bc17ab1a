"""A scripted model without torch. As a script it is an engine worker around that model.

Its "keys and values" are fingerprints of everything up to a position, and its next token is a function of the last
fingerprint. So outputs don't depend on the schedule, and a page that was wrongly shared, copied or evicted shows.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq

from llmos_server.contracts import ChoiceDelta, EngineInfo, EngineStats, GenerateRequest, SamplingParams, TokenLogprob
from llmos_server.engine.adapters import Adapters
from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.core import EngineCore
from llmos_server.engine.messages import Ready, StepOutput, WorkerConfig
from llmos_server.engine.scheduler import Scheduler
from llmos_server.engine.sequence import Mask, Sequence
from llmos_server.engine.speculation import Proposer
from llmos_server.engine.step import SampledToken, StepPlan, StepResult
from llmos_server.engine.worker import main
from llmos_server.errors import InvalidRequest, UnsupportedModel

VOCAB_SIZE = 50
CRASH_TOKEN = 49
"""In a prompt: the forward pass raises."""
NAN_TOKEN = 48
"""In a prompt: the logits are not finite."""
BAD_GUESS = 46
"""As a guess: the logits of its chunk are not finite."""
HANG_TOKEN = 47
"""In a prompt: the forward pass never returns."""
MASK = 2**61 - 1


def mix(*values: int) -> int:
    state = 1469598103934665603
    for value in values:
        state = (state ^ value) * 1099511628211 & MASK
        state ^= state >> 29
    return state


def fingerprints(salt: str, token_ids: list[int]) -> list[int]:
    """One per position, over all tokens up to it."""
    chain = [root(salt)]
    for token_id in token_ids:
        chain.append(mix(chain[-1], token_id))
    return chain[1:]


def begin_of(request: GenerateRequest) -> str:
    """What the same tokens' keys and values depend on, beside them."""
    return f"{request.adapter} {request.cache_salt}"


def root(salt: str) -> int:
    return mix(*salt.encode())


def logprob_of(fingerprint: int, token_id: int) -> TokenLogprob:
    return TokenLogprob(token_id, -(mix(fingerprint, token_id) % 1000) / 1000)


def choose(
    fingerprint: int, request: GenerateRequest, index: int, num_output_tokens: int, allowed: Mask | None = None
) -> int:
    """allowed: by the request's grammar."""
    params = request.sampling
    if request.continuations:
        return request.continuations[index][num_output_tokens]
    token_id = (
        mix(fingerprint, params.seed, index) % BAD_GUESS
    )  # Answers are parts of later prompts, so no script is chosen.
    if allowed is not None:
        return next(
            other % VOCAB_SIZE for other in range(token_id, token_id + VOCAB_SIZE) if allowed[other % VOCAB_SIZE]
        )
    while num_output_tokens < params.min_tokens and token_id in params.stop_token_ids:
        token_id = (token_id + 1) % VOCAB_SIZE
    return token_id


class Expected(msgspec.Struct):
    """What one choice must come to."""

    token_ids: list[int]
    finish_reason: str
    stop_token_id: int | None
    logprobs: list[TokenLogprob]
    cumulative_logprob: float


def expected_choice(request: GenerateRequest, index: int) -> Expected:
    """The choice computed alone, token by token."""
    params = request.sampling
    choice = Expected([], "length", None, [], 0.0)
    fingerprint = fingerprints(begin_of(request), request.prompt_ids)[-1]
    grammar = ScriptedGrammar(params.grammar) if params.grammar else None
    while len(choice.token_ids) < (len(request.continuations[index]) if request.continuations else params.max_tokens):
        allowed = grammar.masks([], params.stop_token_ids)[0] if grammar else None
        token_id = choose(fingerprint, request, index, len(choice.token_ids), allowed)
        logprob = logprob_of(fingerprint, token_id)
        if params.logprobs is not None:
            choice.cumulative_logprob += logprob.logprob
        if token_id in params.stop_token_ids and (grammar or len(choice.token_ids) >= params.min_tokens):
            choice.finish_reason, choice.stop_token_id = "stop", token_id
            break
        choice.token_ids.append(token_id)
        choice.logprobs.append(logprob)
        fingerprint = mix(fingerprint, token_id)
        if grammar:
            grammar.accept(token_id)
            if grammar.is_complete:
                choice.finish_reason = "stop"
                break
    return choice


def expected_prompt_logprobs(request: GenerateRequest) -> list[TokenLogprob | None]:
    chain = fingerprints(begin_of(request), request.prompt_ids)
    return [None, *(logprob_of(before, token) for before, token in zip(chain, request.prompt_ids[1:], strict=False))]


class ScriptedGrammar:
    """A Constraint. text: "modulus,length": token number i is i modulo modulus; the text may end behind a whole round,
    and has to after so many tokens. "fail,length" can't be followed behind so many."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._modulus, length = text.split(",")
        self._length = int(length)
        self._num = 0

    def fork(self) -> ScriptedGrammar:
        return ScriptedGrammar(self._text)

    @property
    def is_complete(self) -> bool:
        return self._modulus != "fail" and self._num == self._length

    @property
    def error(self) -> str:
        return "scripted failure" if self._modulus == "fail" and self._num >= self._length else ""

    def accept(self, token_id: int) -> None:
        self._num += 1

    def masks(self, draft_ids: list[int], stop_token_ids: Collection[int]) -> list[Mask]:
        masks = []
        for place, token_id in enumerate([None, *draft_ids], self._num):
            if token_id is not None and (token_id in stop_token_ids or not masks[-1][token_id]):
                break
            if place == self._length:  # Complete, or failed.
                break
            modulus = 1 if self._modulus == "fail" else int(self._modulus)
            mask = np.arange(VOCAB_SIZE) % modulus == place % modulus
            mask[list(stop_token_ids)] = place % modulus == 0 < place
            masks.append(mask)
        return masks


class ScriptedCompiler:
    """A grammars.Compiler. "bad" can't be compiled; what begins with "slow" waits for the gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self._known: set[str] = set()

    def find(self, text: str) -> ScriptedGrammar | None:
        return ScriptedGrammar(text.removeprefix("slow:")) if text in self._known else None

    def compile(self, text: str) -> ScriptedGrammar:
        if text == "bad":
            raise InvalidRequest("Not a grammar.", code="invalid_grammar")
        if text.startswith("slow:"):
            self.gate.wait()
        self._known.add(text)
        return ScriptedGrammar(text.removeprefix("slow:"))


class ScriptedAdapter(msgspec.Struct):
    num_bytes: int


class ScriptedRunner:
    """A Runner. verify: recompute every fingerprint a chunk may read; step_seconds: what a forward pass takes."""

    is_batch_invariant = True
    draft = None

    def __init__(self, num_pages: int, page_size: int, *, verify: bool = True, step_seconds: float = 0.0) -> None:
        self.adapters: dict[str, ScriptedAdapter] = {}
        self.plans: list[StepPlan] = []
        self._page_size = page_size
        self._pages: list[list[int | None]] = [[None] * page_size for _ in range(num_pages)]
        self._verify = verify
        self._step_seconds = step_seconds

    def forward(self, plan: StepPlan) -> list[list[int]]:
        time.sleep(self._step_seconds)
        if self._verify:
            self.plans.append(plan)
            self._check_plan(plan)
        for page in plan.page_clears:
            self._pages[page] = [None] * self._page_size
        for source, destination in plan.page_copies:
            self._pages[destination] = self._pages[source].copy()
        rows = []
        for chunk in plan.chunks:
            sequence = chunk.sequence
            if CRASH_TOKEN in sequence.request.prompt_ids:
                raise RuntimeError("scripted crash")
            while HANG_TOKEN in sequence.request.prompt_ids:
                time.sleep(1)
            adapter = sequence.request.adapter
            assert not adapter or adapter in self.adapters, "a sequence runs without its adapter"
            state = root(begin_of(sequence.request)) if chunk.start == 0 else self._read(sequence, chunk.start - 1)
            rows.append([])
            for position, token_id in enumerate(chunk.token_ids, chunk.start):
                state = mix(state, token_id)
                page, offset = divmod(position, self._page_size)
                self._pages[sequence.pages[page]][offset] = state
                rows[-1].append(state)
        if self._verify:
            self._check_pages(plan)
        return rows

    def move_pages(self, moves: list[tuple[int, int]]) -> None:
        for source, destination in moves:
            self._pages[destination] = self._pages[source]
            self._pages[source] = [None] * self._page_size

    def release_pages(self, page_ids: Iterable[int]) -> None:
        for page in page_ids:
            self._pages[page] = [None] * self._page_size

    def load_adapter(self, folder: Path) -> ScriptedAdapter:
        """Its name is its size, before a "-"; or "missing"."""
        if folder.name == "missing":
            raise UnsupportedModel("There is no such adapter.")
        return ScriptedAdapter(int(folder.name.partition("-")[0]))

    def sample(self, plan: StepPlan, hidden: list[list[int]]) -> StepResult:
        sampled, prompt_logprobs = [], {}
        for number, (chunk, rows) in enumerate(zip(plan.chunks, hidden, strict=True)):
            for sequence in chunk.sample_for:
                request = sequence.request
                if NAN_TOKEN in request.prompt_ids:
                    sampled.append(SampledToken(sequence, None, None))
                    continue
                if BAD_GUESS in chunk.draft_ids:
                    sampled += [SampledToken(sequence, None, None)] if request.continuations else []
                    continue
                wants_logprob = request.sampling.logprobs is not None
                masks = plan.masks.of(sequence) if plan.masks else None
                if masks == []:
                    sampled += [] if chunk.draft_ids else [SampledToken(sequence, None, None)]
                for place, row in enumerate(rows[len(rows) - len(chunk.draft_ids) - 1 :]):
                    if masks is not None and place >= len(masks):
                        break
                    allowed = masks[place] if masks else None
                    token_id = choose(row, request, sequence.index, sequence.num_output_tokens + place, allowed)
                    entry = logprob_of(row, token_id) if wants_logprob else None
                    sampled.append(SampledToken(sequence, token_id, entry))
                    if chunk.draft_ids[place : place + 1] != [token_id]:
                        break
            if chunk.wants_prompt_logprobs:
                following = chunk.sequence.request.prompt_ids[chunk.start + 1 :]
                prompt_logprobs[number] = [logprob_of(row, token) for row, token in zip(rows, following, strict=False)]
        return StepResult(sampled, prompt_logprobs)

    def _read(self, sequence: Sequence, position: int) -> int:
        page, offset = divmod(position, self._page_size)
        state = self._pages[sequence.pages[page]][offset]
        assert state is not None, f"position {position} is read before it was written"
        return state

    def _check_plan(self, plan: StepPlan) -> None:
        sequences = [id(chunk.sequence) for chunk in plan.chunks]
        assert len(set(sequences)) == len(sequences), "a sequence has two chunks"
        written = [
            chunk.sequence.pages[page]
            for chunk in plan.chunks
            for page in range(
                chunk.start // self._page_size, (chunk.start + chunk.num_tokens - 1) // self._page_size + 1
            )
        ]
        assert len(set(written)) == len(written), "a page is written by two sequences"
        destinations = [destination for _, destination in plan.page_copies]
        assert len(set(destinations)) == len(destinations), "a page is copied to twice"
        assert not set(destinations) & {source for source, _ in plan.page_copies}, "a copy depends on the order"

    def _check_pages(self, plan: StepPlan) -> None:
        for chunk in plan.chunks:
            sequence, end = chunk.sequence, chunk.start + chunk.num_tokens
            found = [self._read(sequence, position) for position in range(end)]
            token_ids = (sequence.token_ids + chunk.draft_ids)[:end]
            assert found == fingerprints(begin_of(sequence.request), token_ids), "wrong keys and values"


class ScriptedProposer:
    """Guesses what the scripted model will say. errs: but for every fourth token; now and then one spoils its chunk."""

    is_free = True
    seconds = 0.0

    def seconds_per_guess(self, num_sequences: int) -> float:
        return 0.0

    def __init__(self, *, errs: bool = True) -> None:
        self._errs = errs
        self.known: set[Sequence] = set()

    def propose(self, plan: StepPlan, wanted: Mapping[Sequence, int]) -> dict[Sequence, list[int]]:
        self.known |= wanted.keys()
        return {sequence: self._guess(sequence, num_tokens) for sequence, num_tokens in wanted.items()}

    def forget(self, sequence: Sequence) -> None:
        self.known.discard(sequence)

    def _guess(self, sequence: Sequence, num_tokens: int) -> list[int]:
        request, guess = sequence.request, []
        state = fingerprints(begin_of(request), sequence.token_ids)[-1]
        for place in range(num_tokens):
            token_id = choose(state, request, sequence.index, sequence.num_output_tokens + place)
            if self._errs and state % 4 == 0:
                token_id = BAD_GUESS if state % 32 == 0 else (token_id + 1) % BAD_GUESS
            guess.append(token_id)
            state = mix(state, token_id)
        return guess


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make_info(num_pages: int, page_size: int, max_len: int = 0) -> EngineInfo:
    return EngineInfo(
        model_digest="sha256:0",
        architecture="Scripted",
        dtype="int",
        device="cpu",
        vocab_size=VOCAB_SIZE,
        context_length=num_pages * page_size,
        max_model_len=max_len or num_pages * page_size,
        page_size=page_size,
        num_pages=num_pages,
        page_bytes=1000,
        load_seconds=0.0,
    )


def seconds_of(plan: StepPlan) -> float:
    """A step's duration on a machine like the one that docs/performance.md tells of."""
    pairs = sum(chunk.num_tokens * (chunk.start + chunk.num_tokens / 2) for chunk in plan.chunks)
    return 0.1 + 0.0025 * plan.num_tokens + 0.005 * len(plan.chunks) + 1e-6 * pairs


class TimedRunner(ScriptedRunner):
    """Every step moves the clock by what it would take."""

    def __init__(self, num_pages: int, page_size: int, clock: Clock, *, verify: bool) -> None:
        super().__init__(num_pages, page_size, verify=verify)
        self._clock = clock

    def forward(self, plan: StepPlan) -> list[list[int]]:
        self._clock.now += seconds_of(plan)
        return super().forward(plan)


class Engine:
    """An EngineCore over the scripted model, with everything that tests want to look at."""

    def __init__(
        self,
        num_pages: int = 64,
        page_size: int = 4,
        max_num_seqs: int = 8,
        budget: int = 64,
        caching: bool = True,
        *,
        step_seconds: float = 0.0,
        max_stall: float = 0.0,
        verify: bool = True,
        proposer: Proposer | None = None,
        max_len: int = 0,
    ) -> None:
        """max_len: the longest sequence; 0: as long as the pool allows.

        step_seconds: the scheduler's bound; with one, steps take time. verify: False for long runs. proposer: of
        guesses, at most 4 at once."""
        self.clock = Clock()
        if step_seconds:
            self.runner: ScriptedRunner = TimedRunner(num_pages, page_size, self.clock, verify=verify)
        else:
            self.runner = ScriptedRunner(num_pages, page_size, verify=verify)
        self.verify = verify
        self.blocks = BlockManager(num_pages, page_size, model_digest="sha256:0", prefix_caching=caching)
        self.scheduler = Scheduler(
            self.blocks,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=budget,
            max_step_seconds=step_seconds,
            max_stall=max_stall,
            proposer=proposer,
            max_draft_tokens=4,
        )
        self.compiler = ScriptedCompiler()
        info = make_info(num_pages, page_size, max_len)
        adapters = Adapters(self.runner, Path, max_adapters=3, max_bytes=100)
        self.core = EngineCore(self.scheduler, self.runner, info, self.clock, self.compiler, adapters)
        self.deltas: dict[tuple[str, int], list[ChoiceDelta]] = {}

    def step(self) -> list[ChoiceDelta]:
        deltas = self.core.step()
        if self.verify:
            self.scheduler.check_integrity()
        for delta in deltas:
            self.deltas.setdefault((delta.request_id, delta.index), []).append(delta)
        return deltas

    def run(self, max_steps: int = 2000) -> None:
        for _ in range(max_steps):
            if not self.core.has_work:
                return
            self.step()
        raise AssertionError(f"not idle after {max_steps} steps")

    def output(self, request_id: str, index: int = 0) -> list[int]:
        return [token for delta in self.deltas.get((request_id, index), []) for token in delta.token_ids]


def make_request(request_id: str, prompt_ids: list[int], max_tokens: int = 4, **fields: Any) -> GenerateRequest:
    """fields: of GenerateRequest or of SamplingParams."""
    own = {name: fields.pop(name) for name in ("n", "priority", "cache_salt", "owner", "adapter") if name in fields}
    sampling = SamplingParams(max_tokens=max_tokens, seed=fields.pop("seed", 7), **fields)
    return GenerateRequest(request_id=request_id, prompt_ids=prompt_ids, sampling=sampling, **own)


def create_scripted_runner(config: WorkerConfig) -> tuple[ScriptedRunner, EngineInfo]:
    """model_digest scripts the load: "unsupported" refuses, "crash" dies, "late" sends messages of another epoch; the
    longest sequence of "half" takes half of the pool."""
    if config.model_digest == "unsupported":
        raise UnsupportedModel("Scripted models of this kind can't be served; choose another.")
    if config.model_digest == "crash" or (config.model_digest == "crash once" and config.epoch == 1):
        os._exit(3)
    num_pages = config.cache_bytes
    max_len = num_pages * config.page_size // (2 if config.model_digest == "half" else 1)
    info = make_info(num_pages, config.page_size, max_len)
    if config.model_digest == "late":
        with zmq.Context() as context, context.socket(zmq.PUSH) as reports:
            reports.connect(config.reports_endpoint)
            late_info = msgspec.structs.replace(info, architecture="Late")
            stats = EngineStats(num_preemptions=99)
            for late in (
                Ready(epoch=config.epoch + 1, info=late_info),
                StepOutput(epoch=config.epoch - 1, deltas=[], stats=stats),
            ):
                reports.send(msgspec.msgpack.encode(late))
    return ScriptedRunner(num_pages, config.page_size, verify=False, step_seconds=0.001), info


if __name__ == "__main__":
    sys.exit(main(create_scripted_runner))
