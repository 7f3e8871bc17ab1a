"""lm-evaluation-harness over a running server: its tasks ask the model by /v1/completions. Needs llmos[harness]."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx2
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from llmos_server.evaluation.asking import HttpModels
from llmos_server.evaluation.likelihood import Likelihood, Scorer

DEFAULT_MAX_TOKENS = 256


class ServerModel(LM):  # type: ignore[misc]  # It isn't installed where this is checked.
    """A model of a server, as the harness sees one: log-likelihoods by echo and logprobs, and texts. Requests are sent
    several at a time, and answered in their order."""

    def __init__(self, client: httpx2.AsyncClient, model: str, concurrency: int) -> None:
        super().__init__()
        self._model = model
        self._client = client
        self._models = HttpModels(client)
        self._scorer = Scorer(self._models, model)
        self._turns = asyncio.Semaphore(concurrency)
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        """The client, too."""
        self._loop.run_until_complete(self._client.aclose())
        self._loop.close()

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        return self._all(requests, self._score)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        return self._all(requests, self._score_whole)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        return self._all(requests, self._generate)

    def _all(self, requests: Sequence[Instance], ask: Any) -> list[Any]:
        async def bounded(request: Instance) -> Any:
            async with self._turns:
                return await ask(*request.args)

        async def together() -> list[Any]:
            return list(await asyncio.gather(*map(bounded, requests)))

        return self._loop.run_until_complete(together())

    async def _score(self, context: str, continuation: str) -> tuple[float, bool]:
        """The border between both is where the harness's own models put it: white space belongs to what follows."""
        spaces = len(context) - len(context.rstrip())
        if spaces:
            context, continuation = context[:-spaces], context[-spaces:] + continuation
        whole = await self._scorer.encode(context + continuation)
        begin = await self._scorer.encode(context) if context else []
        before = await self._scorer.beginning() or whole[:0]
        found: Likelihood = await self._scorer.score([*before, *whole[: len(begin)]], whole[len(begin) :])
        return found.logprob, found.is_greedy

    async def _score_whole(self, text: str) -> float:
        """In windows that follow each other, each foretold from its own beginning on."""
        ids, before = await self._scorer.encode(text), await self._scorer.beginning()
        size = self._scorer.max_tokens - max(len(before), 1)
        total, last = 0.0, before
        for start in range(0, len(ids), size):
            window = ids[start : start + size]
            context = last or window[:1]
            total += (await self._scorer.score(context, window if last else window[1:])).logprob
            last = before or window[-1:]
        return total

    async def _generate(self, context: str, options: dict[str, Any]) -> str:
        stops = options.get("until") or []
        body = {
            "model": self._model,
            "prompt": context,
            "max_tokens": options.get("max_gen_toks", DEFAULT_MAX_TOKENS),
            "temperature": options.get("temperature", 0.0) if options.get("do_sample", False) else 0.0,
            "stop": [stops] if isinstance(stops, str) else list(stops) or None,
        }
        answer = await self._models.post("/v1/completions", body)
        return str(answer["choices"][0]["text"])


def run_tasks(
    client: httpx2.AsyncClient,
    model: str,
    tasks: Sequence[str],
    *,
    folder: str | None = None,
    num_fewshot: int | None = None,
    limit: int | None = None,
    concurrency: int = 4,
) -> dict[str, Any]:
    """What the harness found: its own object, without samples. folder: of tasks of one's own, as YAML."""
    served = ServerModel(client, model, concurrency)
    try:
        found = simple_evaluate(
            served,
            tasks=list(tasks),
            num_fewshot=num_fewshot,
            limit=limit,
            log_samples=False,
            task_manager=TaskManager(include_path=folder),
        )
    finally:
        served.close()
    return {name: found[name] for name in ("results", "versions", "n-samples", "higher_is_better") if name in found}
