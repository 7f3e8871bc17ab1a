"""A checked request, ready for the engine; and the handing over."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from llmos_server.api.errors import QueueFull
from llmos_server.api.flights import Details
from llmos_server.api.generation.sampling import random_seed
from llmos_server.api.served import ServedModel
from llmos_server.chat.answer_parser import AnswerParser
from llmos_server.chat.schema_paths import Schema
from llmos_server.contracts import EngineInfo, GenerateRequest, Generation, SamplingParams
from llmos_server.errors import EngineBusy, InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One wire request: one prompt (chat) or several (completions), `n` choices of each."""

    served: ServedModel
    prompts: list[list[int]]
    sampling: SamplingParams
    """max_tokens is the client's bound; each prompt's own room cuts it."""
    n: int
    seeded: bool
    """False: every prompt gets a seed of its own, so that equal prompts in a batch may differ."""
    stop: tuple[str, ...] = ()
    skip_special_tokens: bool = True
    priority: int = 0
    cache_salt: str = ""
    id: str
    created: int = field(default_factory=lambda: int(time.time()))
    num_dropped_messages: int = 0
    check: Schema | None = None
    """What finished answers have to match besides their grammar; see chat.answer_check."""
    call_checks: dict[str, Schema] = field(default_factory=dict)
    """The same of tool calls' arguments, by the function's name."""
    create_parser: Callable[[], AnswerParser] | None = None
    """Of each choice's text to reasoning, content and tool calls; None where all is content."""
    shown_ids: frozenset[int] = frozenset()
    """Special tokens that the parser reads."""

    tools: tuple[str, ...] = ()
    """Names of those that the model is told of."""
    returns_ids: bool = False
    """Token ids are part of the answer."""

    def details(self) -> Details:
        """For administrators: neither texts nor what stands in a grammar, in stop strings or in biases."""
        sampling = msgspec.structs.asdict(self.sampling)
        hidden = ("grammar", "logit_bias", "stop_token_ids")
        shown = {name: value for name, value in sampling.items() if name not in hidden}
        if not self.seeded:
            del shown["seed"]
        shown |= {"n": self.n, "priority": self.priority, "num_stop": len(self.stop)}
        shown["num_logit_bias"] = len(self.sampling.logit_bias)
        return Details(shown, bool(self.sampling.grammar), list(self.tools))

    @property
    def num_choices(self) -> int:
        return self.n * len(self.prompts)

    @property
    def num_prompt_tokens(self) -> int:
        return sum(map(len, self.prompts))


def new_id(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex}"


async def wait_ready(served: ServedModel, timeout: float) -> EngineInfo:
    """Wait out a load; a ready engine costs nothing. Raises EngineBusy, EngineFailed, InvalidRequest."""
    return await served.generator.wait_ready(timeout)


def check_room(num_prompt_tokens: int, max_tokens: int, info: EngineInfo, *, param: str, remedy: str) -> None:
    """Raises InvalidRequest when the prompt leaves no room for a single token (for none, if none is asked for)."""
    fits = info.max_model_len - min(max_tokens, 1)
    if num_prompt_tokens > fits:
        raise InvalidRequest(
            f"The prompt is {num_prompt_tokens} tokens long; this model takes {info.max_model_len} tokens in all, "
            f"so a prompt of at most {fits} fits. {remedy}",
            param=param,
            code="context_length_exceeded",
        )


def submit(plan: Plan, info: EngineInfo, *, owner: str = "", cache_salt: str = "") -> list[Generation]:
    """One generation a prompt, in order. When one is refused, the others are taken back."""
    generations: list[Generation] = []
    try:
        for place, prompt in enumerate(plan.prompts):
            request = _to_request(plan, place, prompt, info)
            request = msgspec.structs.replace(request, owner=owner, cache_salt=cache_salt)
            generations.append(plan.served.generator.submit(request))
    except BaseException as error:
        for generation in generations:
            generation.abort()
        if isinstance(error, EngineBusy) and plan.served.generator.state == "ready":
            raise QueueFull(str(error), retry_after=error.retry_after) from error
        raise
    return generations


def _to_request(plan: Plan, place: int, prompt: list[int], info: EngineInfo) -> GenerateRequest:
    room = info.max_model_len - len(prompt)
    max_tokens = min(plan.sampling.max_tokens, room)
    sampling = msgspec.structs.replace(
        plan.sampling,
        max_tokens=max_tokens,
        min_tokens=min(plan.sampling.min_tokens, max_tokens),
        seed=plan.sampling.seed if plan.seeded else random_seed(),
    )
    return GenerateRequest(
        request_id=plan.id if len(plan.prompts) == 1 else f"{plan.id}-{place}",
        prompt_ids=prompt,
        sampling=sampling,
        n=plan.n,
        priority=plan.priority,
    )
