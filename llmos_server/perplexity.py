"""How well a model foretells a text, as it is and quantised: what `llmos perplexity` measures."""

from __future__ import annotations

import gc
import math
import pydoc_data.topics
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from tokenizers import Tokenizer

from llmos_server.contracts import GenerateRequest, ModelVersion, SamplingParams, TokenLogprob
from llmos_server.engine.messages import WorkerConfig
from llmos_server.engine.sequence import Sequence
from llmos_server.engine.step import Chunk, Runner, StepPlan
from llmos_server.engine.worker import create_torch_runner
from llmos_server.engine.worker_config import configure_worker
from llmos_server.errors import InvalidRequest
from llmos_server.settings import EngineSettings, Quantization

WINDOW_TOKENS = 512
"""Each window is foretold from its own beginning on."""
CACHE_BYTES = 2**28


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    dtype: str
    """As EngineInfo has it."""
    logprobs: list[float]
    """Of each token but the first of a window."""

    @property
    def perplexity(self) -> float:
        return math.exp(-math.fsum(self.logprobs) / len(self.logprobs))

    def mean_difference(self, other: Measured) -> float:
        """Of the log-probabilities, without signs."""
        return math.fsum(abs(a - b) for a, b in zip(self.logprobs, other.logprobs, strict=True)) / len(self.logprobs)


def built_in_text() -> str:
    """Python's own reference, as every interpreter carries it."""
    return "\n\n".join(pydoc_data.topics.topics.values())


def measure(
    version: ModelVersion, quantization: Quantization, settings: EngineSettings, text: str, max_tokens: int
) -> Measured:
    """Loads the model in this process, and lets go of it.

    Raises InvalidRequest for a text without two tokens, UnsupportedModel for what can't be loaded so.
    """
    tokenizer = Tokenizer.from_file(str(Path(version.folder) / "tokenizer.json"))
    ids = tokenizer.encode(text, add_special_tokens=False).ids[:max_tokens]
    if len(ids) < 2:
        raise InvalidRequest("The text is too short: perplexity needs two tokens at least, better 5,000.")
    config = configure_alone(msgspec.structs.replace(version, quantization=quantization), settings)
    runner, info = create_torch_runner(config)
    windows = _windows(tokenizer.encode("").ids, ids, min(WINDOW_TOKENS, info.max_model_len))
    logprobs = [entry.logprob for window in windows for entry in foretell(runner, window, config)]
    del runner
    gc.collect()
    return Measured(dtype=info.dtype, logprobs=logprobs)


def _windows(beginning: list[int], ids: list[int], size: int) -> list[list[int]]:
    """beginning: what the tokenizer puts before every text, BOS for most."""
    step = size - len(beginning)
    windows = [beginning + ids[start : start + step] for start in range(0, len(ids), step)]
    return [window for window in windows if len(window) > 1]


def foretell(runner: Runner, ids: list[int], config: WorkerConfig, adapter: str = "") -> list[TokenLogprob]:
    """Of each token but the first, with the likeliest one. adapter: the digest of one that the runner has loaded."""
    sampling = SamplingParams(max_tokens=0, seed=0, prompt_logprobs=1)
    request = GenerateRequest(request_id="perplexity", prompt_ids=ids, sampling=sampling, adapter=adapter)
    sequence = Sequence(request, 0, 0.0)
    sequence.pages = list(range(-(-len(ids) // config.page_size)))
    found: list[TokenLogprob] = []
    for start in range(0, len(ids), config.max_num_batched_tokens):
        size = min(config.max_num_batched_tokens, len(ids) - start)
        plan = StepPlan([Chunk(sequence, start, size, [], wants_prompt_logprobs=True)])
        found += runner.sample(plan, runner.forward(plan)).prompt_logprobs[0]
    return found


def configure_alone(version: ModelVersion, settings: EngineSettings) -> WorkerConfig:
    """For one sequence at a time, in this process."""
    alone = replace(settings, cache_bytes=settings.cache_bytes or CACHE_BYTES, max_num_seqs=1, prefix_caching=False)
    return configure_worker(version, alone)
