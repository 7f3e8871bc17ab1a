"""One client of the bench: requests over HTTP, streamed and timed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import httpx2

from llmos_server.bench.conversations import Conversation, Message
from llmos_server.errors import LLMOSError
from llmos_server.http_client import check_status, errors_in_words, sse_chunks


@dataclass
class Timing:
    """One request. Times are seconds of time.perf_counter()."""

    sent: float
    texts: list[float] = field(default_factory=list)
    done: float = 0.0
    usage: dict[str, Any] = field(default_factory=dict)
    answer: str = ""
    error: str | None = None


@dataclass(frozen=True)
class BenchClient:
    http: httpx2.AsyncClient
    url: str
    model: str
    max_tokens: int

    async def talk(self, conversation: Conversation) -> list[Timing]:
        """Question, answer, question; a failure ends it and is in the last timing's `error`."""
        messages = list(conversation.opening)
        timings: list[Timing] = []
        for question in conversation.questions:
            messages.append({"role": "user", "content": question})
            timing = await self.send(messages)
            timings.append(timing)
            if timing.error is not None:
                break
            messages.append({"role": "assistant", "content": timing.answer})
        return timings

    async def send(self, messages: list[Message]) -> Timing:
        body = {
            "model": self.model,
            "messages": messages,
            "max_tokens": self.max_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        timing = Timing(time.perf_counter())
        try:
            with errors_in_words(self.url):
                async with self.http.stream("POST", f"{self.url}/chat/completions", json=body) as response:
                    await check_status(response)
                    async for chunk in sse_chunks(response):
                        _note(timing, chunk)
            timing.error = self._fault_of(timing.usage)
        except LLMOSError as error:
            timing.error = str(error)
        timing.done = time.perf_counter()
        return timing

    def _fault_of(self, usage: dict[str, Any]) -> str | None:
        """Answers of other lengths would make the figures of two servers or two runs incomparable."""
        if not usage:
            return "The stream had no usage chunk, so its tokens can't be counted."
        if usage["completion_tokens"] != self.max_tokens:
            return (
                f"{self.max_tokens} tokens were asked for and {usage['completion_tokens']} came: the server doesn't "
                "honour ignore_eos, or its context is too short for prompt and answer."
            )
        return None


def _note(timing: Timing, chunk: dict[str, Any]) -> None:
    text = "".join((choice.get("delta") or {}).get("content") or "" for choice in chunk.get("choices", ()))
    if text:
        timing.texts.append(time.perf_counter())
        timing.answer += text
    timing.usage = chunk.get("usage") or timing.usage
