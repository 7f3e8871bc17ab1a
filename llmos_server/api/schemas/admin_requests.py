"""Wire structs of /admin/v1/requests. Neither prompts nor answers are in them."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

State = Literal["filtering", "loading", "queued", "prefill", "generating", "running"]


class InFlight(Struct, kw_only=True):
    """One request. The numbers of tokens are of all that it has asked of models so far."""

    id: str
    """The X-Request-Id of its answer; with #2 and so on behind it, where a client uses one again meanwhile."""
    endpoint: str
    model: str | None
    key: str
    """Its name; "" for nobody's."""
    client: str
    """What the client calls itself (User-Agent), cut."""
    state: State
    started: float
    age_seconds: float
    prompt_tokens: int | None
    cached_tokens: int | None
    """Of the prompt, found in the prefix cache. null: not known yet."""
    completion_tokens: int
    num_choices: int
    ttft_seconds: float | None
    tokens_per_second: float | None
    """Since the first token; of the answer that is being written."""
    is_stream: bool


class InFlightDetails(InFlight, kw_only=True):
    """sampling and what follows it are of the answer that is being made."""

    sampling: dict[str, Any] | None
    """As it was resolved; null while there is no such answer."""
    grammar: bool
    """The answer has to have a given form."""
    tools: list[str]
    """Names of those that the model is told of."""


class InFlightList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[InFlight]
    """Oldest first."""
    num_more: int
    """That aren't shown."""


class RequestAborted(Struct, kw_only=True):
    object: Literal["request.aborted"] = "request.aborted"
    id: str
    aborted: bool = True
