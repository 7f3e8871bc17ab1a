"""What evaluations ask of models: over HTTP, as any client does."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Protocol

import httpx2
import msgspec

from llmos_server.errors import LLMOSError

ATTEMPTS = 6
MAX_WAIT_SECONDS = 30.0
RETRIED = (429, 502, 503)


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Of one call."""

    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class ModelRefused(LLMOSError):
    """The server answered with an error. status: HTTP's; 0 where it didn't answer. code: its stable word."""

    def __init__(self, message: str, *, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def is_transient(self) -> bool:
        """It may go better later."""
        return self.status == 0 or self.status in RETRIED


class Models(Protocol):
    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """path: such as /v1/chat/completions. Raises ModelRefused."""
        ...

    async def get(self, path: str) -> dict[str, Any]:
        """Raises ModelRefused."""
        ...


class HttpModels:
    """Waits and asks again where the server is too busy, a few times."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        """client: with the server's root as base_url, and its key."""
        self._client = client

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._ask("POST", path, body)

    async def get(self, path: str) -> dict[str, Any]:
        return await self._ask("GET", path, None)

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                reply = await self._client.request(method, path, json=body)
            except httpx2.TransportError as error:
                told = f"The server didn't answer {path} ({error or type(error).__name__})."
                if attempt == ATTEMPTS:
                    raise ModelRefused(told, status=0) from None
                await asyncio.sleep(_wait("", attempt))
                continue
            if reply.is_success:
                answer: dict[str, Any] = reply.json()
                return answer
            if reply.status_code not in RETRIED or attempt == ATTEMPTS:
                raise _refusal(reply)
            await asyncio.sleep(_wait(reply.headers.get("retry-after", ""), attempt))
        raise AssertionError("unreachable")


def usage_of(answer: dict[str, Any]) -> TokenUsage:
    """Of an answer of /v1/chat/completions, /v1/responses or /v1/embeddings."""
    usage = answer.get("usage") or {}
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    return TokenUsage(
        model=str(answer.get("model", "")),
        prompt_tokens=usage.get("prompt_tokens", usage.get("input_tokens", 0)),
        completion_tokens=usage.get("completion_tokens", usage.get("output_tokens", 0)),
        cached_tokens=details.get("cached_tokens") or 0,
    )


def shown_usage(usage: TokenUsage) -> dict[str, int]:
    """As OpenAI's samples tell it."""
    return {
        "total_tokens": usage.total_tokens,
        "completion_tokens": usage.completion_tokens,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
    }


async def embed(models: Models, texts: Sequence[str], model: str | None) -> tuple[list[list[float]], TokenUsage]:
    body = {"input": list(texts), **({} if model is None else {"model": model})}
    answer = await models.post("/v1/embeddings", body)
    return [entry["embedding"] for entry in answer["data"]], usage_of(answer)


def cosine(first: Sequence[float], second: Sequence[float]) -> float:
    lengths = math.hypot(*first) * math.hypot(*second)
    return math.fsum(a * b for a, b in zip(first, second, strict=True)) / lengths if lengths else 0.0


def _refusal(reply: httpx2.Response) -> ModelRefused:
    try:
        error = reply.json()["error"]
        message, code = str(error["message"]), str(error.get("code") or "")
    except (ValueError, KeyError, TypeError):
        message, code = reply.text[:300] or "no explanation", ""
    return ModelRefused(message, status=reply.status_code, code=code)


def _wait(told: str, attempt: int) -> float:
    """told: Retry-After, in seconds."""
    return min(float(told) if told.isdigit() else 0.5 * 2**attempt, MAX_WAIT_SECONDS)
