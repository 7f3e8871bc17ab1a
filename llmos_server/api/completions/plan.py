"""A completion request checked and encoded: a Plan."""

from __future__ import annotations

from llmos_server.api.generation.plans import Plan, check_room, new_id
from llmos_server.api.generation.sampling import (
    ALL_ROOM,
    check_ids,
    chosen_seed,
    num_choices,
    stop_strings,
    to_sampling,
)
from llmos_server.api.generation.structured import plan_grammar
from llmos_server.api.schemas.completions import CompletionRequest
from llmos_server.api.served import ServedModel
from llmos_server.api.services import Services
from llmos_server.contracts import EngineInfo
from llmos_server.errors import InvalidRequest

DEFAULT_MAX_TOKENS = 16
"""OpenAI's."""

MAX_CHOICES = 4096
"""Of all prompts of one request together."""

Prompt = str | list[int]


def read_prompts(data: CompletionRequest, max_prompts: int) -> list[Prompt]:
    """The four forms of `prompt` as one list. Raises InvalidRequest."""
    given = data.prompt
    if isinstance(given, str):
        return [given]
    if given and all(isinstance(item, int) for item in given):
        return [given]  # type: ignore[list-item]
    if not given:
        raise InvalidRequest("prompt is an empty list; send text or token ids.", param="prompt", code="invalid_value")
    if len(given) > max_prompts:
        raise InvalidRequest(
            f"prompt holds {len(given)} prompts; this server takes at most {max_prompts} in one request.",
            param="prompt",
            code="invalid_value",
        )
    if not (all(isinstance(item, str) for item in given) or all(isinstance(item, list) for item in given)):
        raise InvalidRequest("prompt mixes texts and token ids; send one kind.", param="prompt", code="invalid_value")
    return given  # type: ignore[return-value]


async def plan_completion(
    services: Services, served: ServedModel, data: CompletionRequest, prompts: list[Prompt], info: EngineInfo
) -> Plan:
    """n of the plan is best_of, when that is larger than n. Raises InvalidRequest."""
    max_tokens = DEFAULT_MAX_TOKENS if data.max_tokens is None else data.max_tokens
    if max_tokens == ALL_ROOM:
        max_tokens = info.max_model_len
    num_run = check_best_of(data, services.settings.max_n)
    if num_run * len(prompts) > MAX_CHOICES:
        raise InvalidRequest(
            f"{len(prompts)} prompts with {num_run} choices each are more than {MAX_CHOICES}; send fewer prompts.",
            param="prompt",
            code="invalid_value",
        )
    logprobs = data.logprobs
    grammar = await plan_grammar(services, served, data)
    sampling = to_sampling(
        data,
        served.renderer,
        max_tokens=max_tokens,
        logprobs=0 if logprobs is None and num_run > (data.n or 1) else logprobs,
        prompt_logprobs=logprobs if data.echo else None,
        grammar=grammar.text if grammar else "",
    )
    encoded = [await _encode(services, served, prompt, data.add_special_tokens is not False) for prompt in prompts]
    for place, prompt in enumerate(encoded):
        param = "prompt" if len(encoded) == 1 else f"prompt[{place}]"
        check_room(len(prompt), max_tokens, info, param=param, remedy="Shorten it.")
    return Plan(
        served=served,
        prompts=encoded,
        sampling=sampling,
        n=num_run,
        seeded=chosen_seed(data) is not None,
        stop=stop_strings(data),
        skip_special_tokens=data.skip_special_tokens is not False,
        priority=data.priority or 0,
        cache_salt=data.cache_salt or "",
        id=new_id("cmpl"),
        check=grammar.check if grammar else None,
        returns_ids=bool(data.return_token_ids),
    )


def check_best_of(data: CompletionRequest, max_n: int) -> int:
    """How many choices run for each prompt."""
    n = num_choices(data, max_n)
    best_of = n if data.best_of is None else data.best_of
    if best_of < n:
        raise InvalidRequest(f"best_of ({best_of}) is below n ({n}).", param="best_of", code="invalid_value")
    if best_of > max_n:
        raise InvalidRequest(
            f"best_of is {best_of}; this server runs at most {max_n} choices.", param="best_of", code="invalid_value"
        )
    if data.stream and best_of > n:
        raise InvalidRequest(
            "best_of above n can't be streamed: the best is known at the end only.",
            param="best_of",
            code="invalid_value",
        )
    return best_of


async def _encode(services: Services, served: ServedModel, prompt: Prompt, add_special_tokens: bool) -> list[int]:
    """Text to ids; ids are checked. An empty prompt becomes the token that begins a text, if the model has one."""
    renderer = served.renderer
    if isinstance(prompt, str):
        text = prompt
        ids = await services.pool.run(len(text), lambda: renderer.encode(text, add_special_tokens=add_special_tokens))
    else:
        ids = check_ids(prompt, renderer.vocab_size, "prompt")
    if not ids and renderer.bos_id is not None:
        return [renderer.bos_id]
    if not ids:
        raise InvalidRequest(
            "prompt is empty, and this model has no token to begin a text with; send some text.",
            param="prompt",
            code="invalid_value",
        )
    return ids
