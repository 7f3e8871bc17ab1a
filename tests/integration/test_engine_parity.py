"""The whole engine (scheduler, pages, decoder, sampler) against Transformers' generate, on tiny random models.

Whatever the scheduler does to a request (batching, chunks, prefix hits, preemption, forks), its tokens are the ones
that `generate` gives it alone, and its log-probabilities are bitwise those that it has alone.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from llmos_server.contracts import GenerateRequest, SamplingParams, ScoreRequest
from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.core import EngineCore
from llmos_server.engine.messages import WorkerConfig
from llmos_server.engine.model_runner import create_runner
from llmos_server.engine.scheduler import Scheduler

PAGE_SIZE = 4
TOKEN_BYTES = 2 * 2 * 16 * 4 * 2
"""Keys and values, 2 KV heads of 16, float32, 2 layers: one token of every tiny model below."""

SHAPE = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.4,
}

FAMILIES: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**SHAPE),
    "llama-tied": LlamaConfig(**SHAPE, tie_word_embeddings=True),
    "mistral-window": MistralConfig(**SHAPE, sliding_window=9),
    "qwen2": Qwen2Config(**SHAPE),
    "qwen3": Qwen3Config(**SHAPE),
}


@dataclass
class TinyModel:
    folder: Path
    reference: PreTrainedModel

    def engine(self, *, num_pages: int = 256, max_num_seqs: int = 16, max_num_batched_tokens: int = 64) -> EngineCore:
        config = WorkerConfig(
            epoch=1,
            commands_endpoint="",
            reports_endpoint="",
            model_digest="sha256:tiny",
            model_folder=str(self.folder),
            weights=[str(self.folder / "model.safetensors")],
            device="cpu",
            threads=1,
            page_size=PAGE_SIZE,
            cache_bytes=num_pages * PAGE_SIZE * TOKEN_BYTES,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
            prefix_caching=True,
        )
        runner, info = create_runner(config)
        blocks = BlockManager(num_pages, PAGE_SIZE, model_digest=config.model_digest)
        scheduler = Scheduler(blocks, max_num_seqs=max_num_seqs, max_num_batched_tokens=max_num_batched_tokens)
        assert info.num_pages >= num_pages
        return EngineCore(scheduler, runner, info)

    def generate(self, prompt: list[int], num_tokens: int) -> list[int]:
        ids = torch.tensor([prompt])
        out = self.reference.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=num_tokens, do_sample=False, eos_token_id=None
        )
        return out[0, len(prompt) :].tolist()


@pytest.fixture(scope="module", params=FAMILIES)
def tiny(request, tmp_path_factory) -> TinyModel:
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp(request.param)
    config = FAMILIES[request.param]
    config._attn_implementation = "eager"
    reference = AutoModelForCausalLM.from_config(config).float().eval()
    # Biases start at zero, norms at one: make them matter.
    with torch.no_grad():
        for _, parameter in reference.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    reference.save_pretrained(folder)
    reference.generation_config.pad_token_id = 0
    return TinyModel(folder, reference)


def greedy(request_id: str, prompt: list[int], num_tokens: int, **changes) -> GenerateRequest:
    options = {"temperature": 0.0, "logprobs": 2, **changes.pop("sampling", {})}
    return GenerateRequest(
        request_id=request_id,
        prompt_ids=prompt,
        sampling=SamplingParams(max_tokens=num_tokens, seed=0, **options),
        **changes,
    )


@dataclass
class Answer:
    token_ids: list[int]
    logprobs: list
    num_cached: int = 0


def run(core: EngineCore, requests: list[GenerateRequest], *, arrive_every: int = 0) -> dict[tuple[str, int], Answer]:
    """arrive_every: steps between two arrivals; 0 is all at once."""
    answers: dict[tuple[str, int], Answer] = {}
    pending = list(requests)
    for step in itertools.count():
        while pending and (arrive_every == 0 or step % arrive_every == 0):
            core.add(pending.pop(0))
            if arrive_every:
                break
        if not pending and not core.has_work:
            return answers
        for delta in core.step():
            answer = answers.setdefault((delta.request_id, delta.index), Answer([], []))
            answer.token_ids += delta.token_ids
            answer.logprobs += delta.logprobs or []
            answer.num_cached = delta.num_cached_tokens
    raise AssertionError("unreachable")


def prompts(count: int, seed: int = 1) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(96) for _ in range(rng.randrange(1, 40))] for _ in range(count)]


@pytest.fixture(scope="module")
def alone(tiny) -> list[tuple[list[int], Answer]]:
    """Prompts, and what each of them gets from an engine of its own: the tokens of `generate`."""
    answers = [(prompt, run(tiny.engine(), [greedy("a", prompt, 10)])["a", 0]) for prompt in prompts(8, seed=2)]
    for prompt, answer in answers:
        assert answer.token_ids == tiny.generate(prompt, 10)
    return answers


def test_alone(tiny):
    for prompt in prompts(4):
        answer = run(tiny.engine(), [greedy("a", prompt, 12)])["a", 0]
        assert answer.token_ids == tiny.generate(prompt, 12)


@pytest.mark.parametrize(
    "how",
    [
        {"max_num_batched_tokens": 64},
        {"max_num_batched_tokens": 7},
        {"max_num_batched_tokens": 33, "max_num_seqs": 3},
        {"num_pages": 14, "max_num_batched_tokens": 20},
    ],
    ids=["batched", "chunked", "queued", "preempted"],
)
def test_together(tiny, alone, how):
    """Bitwise: the log-probabilities, not only the tokens, are the ones that each request has alone."""
    core = tiny.engine(**how)
    together = run(core, [greedy(str(i), prompt, 10) for i, (prompt, _) in enumerate(alone)], arrive_every=2)
    for i, (_, answer) in enumerate(alone):
        assert together[str(i), 0].token_ids == answer.token_ids
        assert together[str(i), 0].logprobs == answer.logprobs
    if "num_pages" in how:
        assert core.stats().num_preemptions > 0
    assert core.stats().num_free_pages == core.stats().num_pages


def test_prefix_hit(tiny):
    core = tiny.engine()
    shared = prompts(1, seed=5)[0] * 3
    first = run(core, [greedy("a", [*shared, 1], 8)])["a", 0]
    second = run(core, [greedy("b", [*shared, 2], 8)])["b", 0]
    again = run(core, [greedy("c", [*shared, 1], 8)])["c", 0]
    salted = run(core, [greedy("d", [*shared, 1], 8, cache_salt="other")])["d", 0]
    assert first.num_cached == salted.num_cached == 0
    assert second.num_cached > 0
    assert again.num_cached == (len(shared) // PAGE_SIZE) * PAGE_SIZE
    assert second.token_ids == tiny.generate([*shared, 2], 8)
    assert again.logprobs == first.logprobs == salted.logprobs


@pytest.mark.parametrize("num_pages", [256, 18], ids=["roomy", "preempted"])
def test_choices_and_seeds(tiny, num_pages):
    """Choice 0 of n is the answer for n = 1; choices differ; other requests and preemption change nothing."""
    prompt = prompts(1, seed=9)[0] + [5, 6]
    sampling = {"temperature": 1.0, "top_p": 0.95}
    one = run(tiny.engine(), [greedy("a", prompt, 12, sampling=sampling)])["a", 0]
    core = tiny.engine(num_pages=num_pages, max_num_batched_tokens=16)
    others = [greedy(str(i), text, 9) for i, text in enumerate(prompts(4, seed=4))]
    answers = run(core, [others[0], greedy("n", prompt, 12, n=4, sampling=sampling), *others[1:]], arrive_every=1)
    assert answers["n", 0].token_ids == one.token_ids
    assert answers["n", 0].logprobs == one.logprobs
    assert len({tuple(answers["n", index].token_ids) for index in range(4)}) == 4
    if num_pages < 256:
        assert core.stats().num_preemptions > 0


@pytest.mark.parametrize(
    "how",
    [{}, {"max_num_batched_tokens": 7}, {"max_num_seqs": 2}, {"num_pages": 18}],
    ids=["one", "cut", "few", "tight"],
)
def test_continuations(tiny, how):
    """Bitwise what the same tokens have as parts of a prompt, and what Transformers computes."""
    prompt, others = prompts(1, seed=9)[0] + [5, 6], prompts(3, seed=4)
    continuations = [[7], [8, 9, 10], [8, 9, 11, 12, 13], [7, 7], list(range(20, 32))]
    request = ScoreRequest(request_id="s", prompt_ids=prompt, continuations=continuations).to_generate()
    core = tiny.engine(**how)
    answers = run(core, [greedy("o", others[0], 6), request, *(greedy(str(i), ids, 4) for i, ids in enumerate(others))])
    for index, continuation in enumerate(continuations):
        found = answers["s", index].logprobs
        whole = greedy("p", [*prompt, *continuation], 0, sampling={"prompt_logprobs": 0, "logprobs": None})
        alone = tiny.engine()
        alone.add(whole)
        entries = [entry for delta in alone.step() for entry in delta.prompt_logprobs or []]
        assert found == entries[len(prompt) :]
        with torch.no_grad():
            rows = tiny.reference(torch.tensor([[*prompt, *continuation]])).logits[0].log_softmax(-1)
        expected = [float(rows[len(prompt) - 1 + i, token]) for i, token in enumerate(continuation)]
        assert [entry.logprob for entry in found] == pytest.approx(expected, abs=1e-3)
    assert core.stats().num_free_pages == core.stats().num_pages


def test_prompt_logprobs_equal_the_reference(tiny):
    prompt = prompts(1, seed=12)[0] + list(range(20))
    core = tiny.engine(max_num_batched_tokens=7)
    run(core, [greedy("warm", prompt, 1)])
    request = greedy("p", prompt, 0, sampling={"prompt_logprobs": 3})
    core.add(request)
    deltas = [delta for _ in range(40) if core.has_work for delta in core.step()]
    entries = deltas[-1].prompt_logprobs
    with torch.no_grad():
        expected = tiny.reference(torch.tensor([prompt])).logits[0].log_softmax(-1)
    assert entries is not None
    assert entries[0] is None
    assert len(entries) == len(prompt)
    for position, entry in enumerate(entries[1:], start=1):
        assert entry.token_id == prompt[position]
        assert entry.logprob == pytest.approx(float(expected[position - 1, prompt[position]]), abs=1e-3)
        assert len(entry.top) == 3
