"""What a run asks of models, on the API's event loop: the way of chat completions, under the caller's key and place."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from llmos_server.access.limits import Lease
from llmos_server.api.bodies.body import convert
from llmos_server.api.chats.plan import plan_chat
from llmos_server.api.decisions.calibrations import find_calibration
from llmos_server.api.filters.filtered_chats import filter_request
from llmos_server.api.filters.filtered_texts import filter_texts
from llmos_server.api.generation.answer_guard import AnswerGuard
from llmos_server.api.generation.answers import Answer
from llmos_server.api.generation.plans import Plan
from llmos_server.api.generation.starting import AnyRequest, Start
from llmos_server.api.http.access import find_model
from llmos_server.api.schemas.chat import ChatCompletionRequest
from llmos_server.api.schemas.common import CompletionTokensDetails, PromptTokensDetails, Usage
from llmos_server.api.schemas.embeddings import MAX_INPUTS
from llmos_server.api.schemas.relevance import ClassifyRequest
from llmos_server.api.served import ServedModel
from llmos_server.api.services import services_of
from llmos_server.api.skills.classes import classify_texts
from llmos_server.api.skills.scores import score_answers
from llmos_server.calibration.calibration import Calibration
from llmos_server.contracts import EncoderInfo, EngineInfo
from llmos_server.errors import InvalidRequest
from llmos_server.skills.context import AnswerScore, Classified, Reply
from llmos_server.skills.skill import Skill

T = TypeVar("T")

MAX_CALLS = 8
"""Of one run at a time; others wait."""


class MisusedContext(ValueError):
    """A skill has called its context with what can't be."""


class SkillSession:
    """Close it; then nothing that the run asked for goes on."""

    def __init__(
        self,
        request: AnyRequest,
        skill: Skill[Any, Any],
        served: ServedModel,
        info: EngineInfo | EncoderInfo,
        lease: Lease,
    ) -> None:
        self.served = served
        self.info = info
        self._request = request
        self._services = services_of(request)
        self._skill = skill
        self._lease = lease
        self._places = asyncio.Semaphore(MAX_CALLS)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        self._num_prompt = self._num_cached = self._num_completion = 0

    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=self._num_prompt,
            completion_tokens=self._num_completion,
            total_tokens=self._num_prompt + self._num_completion,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=self._num_cached),
            completion_tokens_details=CompletionTokensDetails(),
        )

    def close(self) -> None:
        self._is_closed = True
        for task in self._tasks:
            task.cancel()

    async def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """One call of the run's."""
        task = asyncio.ensure_future(work)
        if self._is_closed:
            task.cancel()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await task
        except InvalidRequest as error:
            is_long = error.code == "context_length_exceeded"
            field = self._skill.text_field if is_long else error.param if error.param == "model" else None
            raise InvalidRequest(
                f"The skill {self._skill.name} asked the model: {error}", param=field, code=error.code
            ) from error

    async def chat(self, body: dict[str, Any], on_text: Callable[[str], None] | None) -> Reply:
        """body: as of a chat completion."""
        data, guard = await filter_request(self._request, _to_request(body), "skill")
        served = await self._find(data.model)
        make_plan = functools.partial(plan_chat, self._services, served, data)
        texts: list[str] = []
        reason = "stop"
        async with self._places:
            answer = await self._start(served, make_plan, guard).run()
            try:
                while deltas := await answer.next():
                    for delta in deltas:
                        texts.append(delta.text)
                        reason = delta.finish_reason or reason
                        if on_text is not None and delta.text:
                            on_text(delta.text)
            finally:
                self._count(answer)
                answer.close()
        return Reply(
            text="".join(texts),
            finish_reason=reason,  # type: ignore[arg-type]
            model=served.id,
            prompt_tokens=answer.plan.num_prompt_tokens,
            completion_tokens=answer.num_completion_tokens,
        )

    async def score(self, body: dict[str, Any], answers: Sequence[str]) -> list[AnswerScore]:
        """body: as of a chat completion that answers would be to."""
        limit = self._services.settings.max_prompts
        if not 0 < len(answers) <= limit or not all(answers):
            raise MisusedContext(f"score takes 1 to {limit} answers (api.max_prompts), none of them empty")
        data, _ = await filter_request(self._request, _to_request(body), "skill")
        served = await self._find(data.model)
        async with self._places:
            scores = await score_answers(self._request, self._services, served, data, answers, self._lease)
        self._num_prompt += scores.num_prompt_tokens + sum(scores.num_tokens)
        self._num_cached += scores.num_cached_tokens
        return [
            AnswerScore(answer=answer, logprob=logprob, num_tokens=num_tokens)
            for answer, logprob, num_tokens in zip(answers, scores.logprobs, scores.num_tokens, strict=True)
        ]

    async def classify(self, texts: Sequence[str], model: str | None) -> list[Classified]:
        if not 0 < len(texts) <= MAX_INPUTS or not all(texts):
            raise MisusedContext(f"classify takes 1 to {MAX_INPUTS} texts, none of them empty")
        asked = ClassifyRequest(input=list(texts), model=model or self._skill.classifier)
        data = await filter_texts(self._request, asked, "skill")
        served = await self._find(data.model)
        served.require_classifier()
        async with self._places:
            found, num_tokens = await classify_texts(self._request, served, list(map(str, data.input)), self._lease)
        self._num_prompt += num_tokens
        return found

    async def count_tokens(self, text: str, model: str | None) -> int:
        renderer = (await self._find(model)).renderer

        def count() -> int:
            return len(renderer.encode(text, add_special_tokens=False, parse_special=False))

        return await self._services.pool.run(len(text), count)

    def find_calibration(self, name: str, digest: str) -> Calibration | None:
        """From any thread."""
        of = digest, f"{self._skill.name}/{name}", self._skill.version
        return find_calibration(self._services, *of) or self._skill.calibrations.find(*of)

    async def _find(self, name: str | None) -> ServedModel:
        return self.served if name is None else await find_model(self._request, name)

    def _start(
        self,
        served: ServedModel,
        make_plan: Callable[[EngineInfo], Coroutine[Any, Any, Plan]],
        guard: AnswerGuard | None,
    ) -> Start:
        return Start(
            request=self._request,
            services=self._services,
            served=served,
            make_plan=make_plan,
            arrival=time.perf_counter(),
            lease=self._lease,
            guard=guard,
        )

    def _count(self, answer: Answer) -> None:
        self._num_prompt += answer.plan.num_prompt_tokens
        self._num_cached += answer.num_cached_tokens
        self._num_completion += answer.num_completion_tokens


def _to_request(body: dict[str, Any]) -> ChatCompletionRequest:
    try:
        return convert(body, ChatCompletionRequest)
    except InvalidRequest as error:
        raise MisusedContext(str(error)) from None
