"""How far the served default's log-probabilities are from float32 Transformers on the same file.

The text is Python's own reference manual, as every interpreter carries it.
"""

from __future__ import annotations

import math
import pydoc_data.topics
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from gguf_reference import load_reference
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from llmos_server.contracts import GenerateRequest, ModelVersion, SamplingParams
from llmos_server.engine.model_runner import ModelRunner, create_runner
from llmos_server.engine.sequence import Sequence
from llmos_server.engine.step import Chunk, StepPlan
from llmos_server.engine.worker_config import configure_worker
from llmos_server.settings import EngineSettings

pytestmark = [pytest.mark.proof, pytest.mark.real_model]

INT16 = "fast, activations of 16 bits"
INT8_CACHE = "fast, cache in int8"
NUM_WINDOWS = 12
WINDOW_TOKENS = 512
MAX_PERPLEXITY_CHANGE = {"exact": 0.001, "fast": 0.005, INT16: 0.001, INT8_CACHE: 0.005}
MAX_MEAN_DIFFERENCE = {"exact": 0.005, "fast": 0.05, INT16: 0.005, INT8_CACHE: 0.05}
MAX_CHARACTERS = 60_000


@pytest.fixture(scope="module")
def windows(smollm2: ModelVersion) -> list[list[int]]:
    text = "\n\n".join(pydoc_data.topics.topics.values())[:MAX_CHARACTERS]
    ids = Tokenizer.from_file(str(Path(smollm2.folder) / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    assert len(ids) >= NUM_WINDOWS * WINDOW_TOKENS
    return [ids[i * WINDOW_TOKENS : (i + 1) * WINDOW_TOKENS] for i in range(NUM_WINDOWS)]


@pytest.fixture(scope="module", params=["exact", "fast", INT16, INT8_CACHE])
def numerics(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def runner(smollm2: ModelVersion, numerics: str) -> ModelRunner:
    settings = EngineSettings(
        threads=1,
        cache_bytes=2**27,
        numerics="exact" if numerics == "exact" else "fast",
        cache_dtype="int8" if numerics == INT8_CACHE else "auto",
        activations="int16" if numerics == INT16 else "auto",
    )
    runner, info = create_runner(configure_worker(smollm2, settings))
    assert info.dtype.startswith("packed") == (numerics != "exact")
    assert ("8 bits" in info.dtype) == (numerics in ("fast", INT8_CACHE))
    assert (info.cache_dtype == "int8") == (numerics == INT8_CACHE)
    return runner


def served_logprobs(runner: ModelRunner, ids: list[int], chunk_tokens: int) -> Iterator[float]:
    sampling = SamplingParams(max_tokens=0, seed=0, prompt_logprobs=0)
    sequence = Sequence(GenerateRequest(request_id="r", prompt_ids=ids, sampling=sampling), 0, 0.0)
    sequence.pages = list(range(-(-len(ids) // 16)))
    for start in range(0, len(ids), chunk_tokens):
        plan = StepPlan([Chunk(sequence, start, min(chunk_tokens, len(ids) - start), [], wants_prompt_logprobs=True)])
        result = runner.sample(plan, runner.forward(plan))
        yield from (entry.logprob for entry in result.prompt_logprobs[0])


@pytest.fixture(scope="module")
def reference(smollm2: ModelVersion) -> PreTrainedModel:
    torch.set_num_threads(1)
    return load_reference(Path(smollm2.folder), Path(smollm2.weights[0]))


def reference_logprobs(model: PreTrainedModel, ids: list[int]) -> list[float]:
    with torch.no_grad():
        logprobs = model(torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)
    return logprobs.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()


def test_logprobs(
    runner: ModelRunner,
    numerics: str,
    reference: PreTrainedModel,
    windows: list[list[int]],
    record_property: Callable[[str, object], None],
) -> None:
    torch.set_num_threads(1)
    expected = [value for ids in windows for value in reference_logprobs(reference, ids)]
    served = [value for i, ids in enumerate(windows) for value in served_logprobs(runner, ids, (512, 100, 37)[i % 3])]
    assert len(served) == len(expected) >= 5000
    differences = [abs(a - b) for a, b in zip(served, expected, strict=True)]
    mean = sum(differences) / len(differences)
    perplexity, expected_perplexity = (math.exp(-sum(values) / len(values)) for values in (served, expected))
    change = abs(perplexity / expected_perplexity - 1)
    record_property(f"{numerics}, tokens compared with float32 Transformers", len(served))
    record_property(
        f"{numerics}, perplexity, served and reference", f"{perplexity:.5f}, {expected_perplexity:.5f} ({change:.1e})"
    )
    record_property(
        f"{numerics}, |difference of log-probabilities|", f"mean {mean:.1e}, largest {max(differences):.1e}"
    )
    assert change < MAX_PERPLEXITY_CHANGE[numerics]
    assert mean < MAX_MEAN_DIFFERENCE[numerics]


def test_chunks_change_no_bit(runner: ModelRunner, windows: list[list[int]]) -> None:
    torch.set_num_threads(1)
    whole = list(served_logprobs(runner, windows[0], 512))
    for chunk_tokens in (1, 7, 100):
        assert list(served_logprobs(runner, windows[0], chunk_tokens)) == whole
