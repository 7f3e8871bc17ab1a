"""Prompts to a teacher, some at a time, over HTTP: each answer is kept as it comes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx2
import msgspec

from llmos_server.data.examples import PromptExample
from llmos_server.errors import InvalidRequest
from llmos_server.job_client import Unreachable, create_client, post, read_refusal, work_until
from llmos_server.job_contracts import JobContext, JobFailed, ServerAddress
from llmos_server.training.teacher_keys import TeacherKeys
from llmos_server.training.teaching.journal import Answer, Journal

RETRIED = (408, 429, 500, 502, 503, 504)
HOPELESS = (401, 403, 404)
"""Statuses that every other request would get, too."""
LOOK_SECONDS = 0.2
SYNC_SECONDS = 1.0
CHECKPOINT_SECONDS = 10.0
TOLD_SECONDS = 30.0
"""Between two events about waiting."""
NO_QUOTA = "insufficient_quota"
"""OpenAI's 429 that no waiting ends."""


def find_server(keys: TeacherKeys, here: ServerAddress) -> ServerAddress:
    """Raises InvalidRequest where there is none."""
    if keys.teacher_server == "environment":
        url = os.environ.get("TEACHER_BASE_URL", "").rstrip("/").removesuffix("/v1")
        if not url.startswith(("http://", "https://")):
            raise InvalidRequest(
                "teacher_server: environment needs TEACHER_BASE_URL (http...) and, if its server asks for one, "
                "TEACHER_API_KEY in the environment of whatever runs the job.",
                param="teacher_server",
            )
        return ServerAddress(url, os.environ.get("TEACHER_API_KEY", ""))
    if not here.key:
        raise InvalidRequest(
            "teacher_server: here, but no server of this home runs. Start it with: llmos serve", param="teacher_server"
        )
    return here


class Teacher:
    """One that answers prompts for a job."""

    def __init__(self, context: JobContext, keys: TeacherKeys, journal: Journal) -> None:
        """Raises InvalidRequest where its server isn't known."""
        self._context = context
        self._keys = keys
        self._journal = journal
        self._server = find_server(keys, context.server)
        self._told = 0.0

    def answer_all(self, missing: Sequence[tuple[PromptExample, int]], on_answer: Callable[[], None]) -> None:
        """missing: prompts, and the numbers of the answers to them. Raises JobStopped, JobFailed, Unreachable; what was
        answered is kept."""
        try:
            asyncio.run(self._ask_all(iter(missing), on_answer))
        finally:
            self._journal.sync()

    async def _ask_all(self, missing: Iterator[tuple[PromptExample, int]], on_answer: Callable[[], None]) -> None:
        elsewhere = self._keys.teacher_server == "environment"
        async with create_client(self._server, self._keys.teacher_concurrency, uses_environment=elsewhere) as client:

            async def work() -> None:
                for prompt, number in missing:
                    self._journal.add(await self._ask(client, prompt, number))
                    on_answer()

            await work_until((work() for _ in range(self._keys.teacher_concurrency)), self._watch())

    async def _ask(self, client: httpx2.AsyncClient, prompt: PromptExample, number: int) -> Answer:
        keys = self._keys
        body: dict[str, Any] = {
            "model": keys.teacher_model_name_or_path,
            "messages": prompt.messages,
            "temperature": keys.teacher_temperature,
            "max_completion_tokens": keys.teacher_max_tokens,
        }
        if keys.teacher_temperature:
            body["seed"] = number
        if prompt.tools:
            body["tools"] = prompt.tools
        reply = await post(
            client, "/v1/chat/completions", msgspec.json.encode(body), retried=RETRIED, on_wait=self._tell_waiting
        )
        return to_answer(reply, prompt, number)

    async def _watch(self) -> None:
        """Raises what ends the run."""
        synced = kept = time.monotonic()
        while True:
            self._context.check()
            now = time.monotonic()
            if now - synced >= SYNC_SECONDS:
                await asyncio.to_thread(self._journal.sync)
                synced = now
            if now - kept >= CHECKPOINT_SECONDS:
                await asyncio.to_thread(self._context.checkpoint)
                kept = now
            await asyncio.sleep(LOOK_SECONDS)

    def _tell_waiting(self, reason: str) -> None:
        now = time.monotonic()
        if not self._told or now - self._told >= TOLD_SECONDS:
            self._told = now
            self._context.log(f"The teacher's server is asked again later: {reason}", "warn")


def to_answer(reply: httpx2.Response, prompt: PromptExample, number: int) -> Answer:
    """Raises JobFailed for what ends the asking of all prompts."""
    digest = digest_of(prompt)
    if reply.status_code >= 400:
        refusal = read_refusal(reply)
        told = reply.text[:300] if refusal is None else refusal.message
        is_over = refusal is not None and refusal.code == NO_QUOTA
        if reply.status_code in RETRIED and not is_over:
            raise Unreachable(f"The teacher's server failed (HTTP {reply.status_code}: {told}).")
        if reply.status_code in HOPELESS or is_over:
            raise JobFailed(
                f"The teacher's server answers no more (HTTP {reply.status_code}: {told}). What it answered before is "
                "kept; the job, made anew, would ask again.",
                code="teacher_failed",
            )
        return Answer(prompt=digest, number=number, reason=f"refused: {told}")
    try:
        [choice] = (body := msgspec.json.decode(reply.content))["choices"]
        given, reason = choice["message"], choice["finish_reason"]
        num_tokens = int((body.get("usage") or {}).get("completion_tokens") or 0)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        raise JobFailed(
            "The teacher's server doesn't answer as OpenAI's chat completions do. Is its URL right?",
            code="teacher_failed",
        ) from None
    message = {name: given[name] for name in ("role", "content", "tool_calls") if given.get(name)}
    if reason not in ("stop", "tool_calls"):
        return Answer(prompt=digest, number=number, reason=f"ended by {reason}", num_tokens=num_tokens)
    if len(message) < 2:
        return Answer(prompt=digest, number=number, reason="empty", num_tokens=num_tokens)
    return Answer(prompt=digest, number=number, message=message, num_tokens=num_tokens)


def digest_of(prompt: PromptExample) -> str:
    asked = msgspec.json.encode([prompt.messages, prompt.tools], order="sorted")
    return hashlib.sha256(asked).hexdigest()[:32]
