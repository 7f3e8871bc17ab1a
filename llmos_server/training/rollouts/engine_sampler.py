"""Answers that a run learns from, sampled by the server's engine: what TRL's trainers have vLLM for."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from llmos_server.job_client import create_client, work_until
from llmos_server.job_contracts import Cancelled, JobStopped, LeaseLost
from llmos_server.training.rollouts.sampling import Sampled, sample
from llmos_server.training.rollouts.temporary import TemporaryAdapter
from llmos_server.training.run import Run

LOOK_SECONDS = 0.2
NUM_CONNECTIONS = 64


class EngineSampler:
    """Implements what TRL's trainers ask of a VLLMGeneration. A run that goes on from a checkpoint asks what it would
    have asked undisturbed: seeds are made of the run's own, the step and the prompt."""

    def __init__(self, run: Run, trainer: Any) -> None:
        """trainer: TRL's, of which the values of sampling are taken, resolved."""
        self._run = run
        self._trainer = trainer
        self._adapter = TemporaryAdapter(run)
        self._seed = int(trainer.args.seed)
        self._max_n = run.context.settings.api.max_n
        self._num_asked = 0
        """Times that answers were asked for since the weights have changed."""
        self._options = {
            "max_tokens": trainer.max_completion_length,
            "temperature": trainer.temperature,
            "top_p": trainer.top_p,
            "top_k": trainer.top_k or -1,
            "min_p": trainer.min_p or 0.0,
            "repetition_penalty": trainer.repetition_penalty,
        }

    @property
    def draws_as_trained(self) -> bool:
        """Whether what the engine tells of a token is the probability that it was drawn with."""
        neutral = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
        return all(self._options[name] == value for name, value in neutral.items())

    def sync_weights(self) -> None:
        """The engine answers by the weights as they are now."""
        asyncio.run(self._adapter.push(self._trainer.accelerator.unwrap_model(self._trainer.model)))
        self._num_asked = 0

    def generate(
        self, prompts: Sequence[list[int]], images: Any, num_generations: int, profiler: Any
    ) -> tuple[None, list[list[int]], list[list[list[float | None]]], None]:
        """As TRL has it: the answers' ids, and for each of their tokens a list with its log-probability."""
        began = time.monotonic()
        found = asyncio.run(self._sample_all(prompts))
        self._num_asked += 1
        speed = sum(len(answer.ids) for answer in found) / max(time.monotonic() - began, 1e-9)
        mode = "train" if self._trainer.model.training else "eval"
        self._trainer._metrics[mode]["sampling/tokens_per_second"].append(speed)
        return None, [answer.ids for answer in found], [[[one] for one in answer.logprobs] for answer in found], None

    def close(self) -> None:
        asyncio.run(self._adapter.remove())

    async def _sample_all(self, prompts: Sequence[list[int]]) -> list[Sampled]:
        """Raises JobStopped."""
        async with create_client(self._run.context.server, NUM_CONNECTIONS) as client:
            requests = [
                sample(client, self._adapter.name, prompt, n, self._seed_of(prompt, place), self._options)
                for place, (prompt, n) in enumerate(in_groups(prompts, self._max_n))
            ]
            return [answer for group in await work_until(requests, self._watch()) for answer in group]

    def _seed_of(self, prompt: Sequence[int], place: int) -> int:
        step = self._trainer.state.global_step
        text = f"{self._seed} {step} {self._num_asked} {place} {list(prompt)}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") >> 1

    async def _watch(self) -> None:
        """Raises what ends the run while it waits."""
        while True:
            try:
                self._run.context.check()
            except (Cancelled, LeaseLost):
                raise
            except JobStopped:
                self._keep_step()
                raise
            await asyncio.sleep(LOOK_SECONDS)

    def _keep_step(self) -> None:
        """A pause doesn't wait for the engine. The weights are those of a whole step, so that is what is kept."""
        last = self._trainer.last_checkpoint()
        step = self._trainer.state.global_step
        if step and (last is None or not last.endswith(f"-{step}")):
            self._trainer.save_checkpoint()
            self._run.context.checkpoint()


def in_groups(prompts: Sequence[list[int]], most: int) -> list[tuple[list[int], int]]:
    """Each prompt, and how many answers to it are wanted in a row: at most so many in one request."""
    found: list[tuple[list[int], int]] = []
    for prompt, group in groupby(prompts):
        left = sum(1 for _ in group)
        while left > 0:
            found.append((prompt, min(left, most)))
            left -= most
    return found
