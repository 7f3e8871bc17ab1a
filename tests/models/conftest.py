"""Tiny random checkpoints of each family, and a driver that plays the scheduler with hand-written steps."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from llmos_server.contracts import EngineInfo, GenerateRequest, SamplingParams, TokenLogprob
from llmos_server.engine.messages import WorkerConfig
from llmos_server.engine.model_runner import ModelRunner, create_runner
from llmos_server.engine.sequence import Sequence
from llmos_server.engine.step import Chunk, StepPlan, StepResult

sys.path.insert(0, str(Path(__file__).parent))  # for gguf_reference, which tests/proof imports, too
sys.path.append(str(Path(__file__).parent.parent / "gguf"))  # for gguf_blocks

TINY: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 72,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
CHECKPOINTS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama"},
    "llama-mha-tied": {"model_type": "llama", "num_key_value_heads": 6, "tie_word_embeddings": True},
    "llama-biases": {"model_type": "llama", "attention_bias": True, "mlp_bias": True, "head_dim": 10},
    "llama-rope-llama3": {"model_type": "llama", "rope_parameters": LLAMA3_ROPE},
    "llama-rope-linear": {
        "model_type": "llama",
        "rope_parameters": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 4.0},
    },
    "mistral-window": {"model_type": "mistral", "sliding_window": 7},
    "mistral-no-window": {"model_type": "mistral", "sliding_window": None},
    "qwen2-tied": {"model_type": "qwen2", "tie_word_embeddings": True},
    "qwen2-some-windows": {
        "model_type": "qwen2",
        "use_sliding_window": True,
        "sliding_window": 11,
        "max_window_layers": 1,
    },
    "qwen3": {"model_type": "qwen3", "head_dim": 16},
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@dataclass
class Checkpoint:
    """A tiny model as Transformers computes it, and the folder that it was saved to."""

    reference: PreTrainedModel
    folder: Path

    def load(self, page_size: int = 16, cache_bytes: int = 2**21) -> Driver:
        return Driver(*create_runner(self.worker_config(page_size, cache_bytes)))

    def worker_config(self, page_size: int = 16, cache_bytes: int = 2**21) -> WorkerConfig:
        weights = sorted(str(path) for path in self.folder.glob("*.safetensors"))
        return worker_config(self.folder, weights, page_size, cache_bytes)

    def generate(self, prompt: list[int], num_tokens: int) -> list[int]:
        """Transformers' own greedy tokens."""
        ids = torch.tensor([prompt])
        out = self.reference.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=num_tokens
        )
        return out[0, len(prompt) :].tolist()


def worker_config(
    folder: Path,
    weights: list[str],
    page_size: int,
    cache_bytes: int,
    numerics: Literal["fast", "exact"] = "exact",
    threads: int = 1,
    cache_dtype: Literal["auto", "int8"] = "auto",
) -> WorkerConfig:
    return WorkerConfig(
        epoch=0,
        commands_endpoint="",
        reports_endpoint="",
        model_digest="sha256:tiny",
        model_folder=str(folder),
        weights=weights,
        device="cpu",
        threads=threads,
        page_size=page_size,
        cache_bytes=cache_bytes,
        max_num_seqs=8,
        max_num_batched_tokens=512,
        prefix_caching=True,
        numerics=numerics,
        cache_dtype=cache_dtype,
    )


@dataclass
class Driver:
    """Runs hand-written steps; hands out pages in an order that is not ascending."""

    runner: ModelRunner
    info: EngineInfo
    logprobs: dict[Sequence, list[TokenLogprob]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pages = itertools.cycle(range(self.info.num_pages - 1, -1, -1))

    def take_pages(self, num_tokens: int) -> list[int]:
        num_pages = -(-num_tokens // self.info.page_size)
        return [page for page, _ in zip(self._pages, range(num_pages), strict=False)]

    def sequence(self, prompt: list[int], room: int, index: int = 0, **sampling: Any) -> Sequence:
        """With pages of its own for the prompt and `room` more tokens."""
        options = {"max_tokens": room, "seed": 1, "temperature": 0.0, "logprobs": 5} | sampling
        request = GenerateRequest(request_id="r", prompt_ids=prompt, sampling=SamplingParams(**options))
        sequence = Sequence(request, index, 0.0)
        sequence.pages = self.take_pages(len(prompt) + room)
        return sequence

    def run(self, plan: StepPlan) -> StepResult:
        """One step; sampled tokens are appended to their sequences."""
        hidden = self.runner.forward(plan)
        result = self.runner.sample(plan, hidden)
        for chunk in plan.chunks:
            chunk.sequence.num_computed_tokens = chunk.start + chunk.num_tokens
        for sequence, token_id, logprob in result.sampled:
            sequence.token_ids.append(token_id)
            if logprob is not None:
                self.logprobs.setdefault(sequence, []).append(logprob)
        return result

    def advance(self, *sequences: Sequence, max_tokens: int = 512) -> None:
        """One step with a chunk of every sequence, at most max_tokens each; those that reach their end sample."""
        chunks = []
        for sequence in sequences:
            num_tokens = min(max_tokens, sequence.num_uncomputed_tokens)
            is_last = num_tokens == sequence.num_uncomputed_tokens
            chunks.append(Chunk(sequence, sequence.num_computed_tokens, num_tokens, [sequence] if is_last else []))
        self.run(StepPlan(chunks))

    def generate(self, *sequences: Sequence, num_tokens: int, max_tokens: int = 512) -> list[list[int]]:
        """All sequences to num_tokens output tokens each, in common steps."""
        while unfinished := [s for s in sequences if s.num_output_tokens < num_tokens]:
            self.advance(*unfinished, max_tokens=max_tokens)
        return [sequence.output_ids for sequence in sequences]

    def hidden_in_any_cut(self, prompts: list[list[int]], choose: random.Random, max_tokens: int) -> list[torch.Tensor]:
        """Hidden states of each prompt, computed in steps of some prompts' next chunks, of any length."""
        sequences = [self.sequence(ids, 0) for ids in prompts]
        seen: list[list[torch.Tensor]] = [[] for _ in prompts]
        while unfinished := [s for s in sequences if s.num_uncomputed_tokens]:
            chunks = [
                Chunk(s, s.num_computed_tokens, choose.randint(1, min(max_tokens, s.num_uncomputed_tokens)))
                for s in choose.sample(unfinished, choose.randint(1, len(unfinished)))
            ]
            hidden = self.runner.forward(StepPlan(chunks))
            row = 0
            for chunk in chunks:
                seen[sequences.index(chunk.sequence)].append(hidden[row : row + chunk.num_tokens])
                chunk.sequence.num_computed_tokens += chunk.num_tokens
                row += chunk.num_tokens
        return [torch.cat(parts) for parts in seen]


def randomize(model: PreTrainedModel) -> None:
    """Weights with clear preferences: greedy choices are then far from ties."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1:
            parameter.data = noise * 0.3 + (1.0 if "norm" in name else 0.0)
        else:
            parameter.data = noise * (1.5 / parameter.shape[1] ** 0.5)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Checkpoint]]:
    """Makes one of CHECKPOINTS, once; changes: to its config."""
    made: dict[str, Checkpoint] = {}

    def make(name: str, **changes: Any) -> Checkpoint:
        name, values = f"{name} {changes or ''}".strip(), TINY | CHECKPOINTS[name] | changes
        if name not in made:
            config = AutoConfig.for_model(**values)
            model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
            randomize(model)
            model.tie_weights()
            folder = tmp_path_factory.mktemp("checkpoint")
            model.save_pretrained(folder)
            made[name] = Checkpoint(model, folder)
        return made[name]

    yield make
    made.clear()


@pytest.fixture(scope="session")
def make_driver() -> type[Driver]:
    return Driver


@pytest.fixture(scope="session")
def make_worker_config() -> Callable[..., WorkerConfig]:
    return worker_config


@pytest.fixture(params=sorted(CHECKPOINTS))
def any_checkpoint(request: pytest.FixtureRequest, checkpoint: Callable[[str], Checkpoint]) -> Checkpoint:
    return checkpoint(request.param)
