"""The default model's greedy tokens and attention against Transformers in float32 on the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gguf_reference import load_reference
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from llmos_server.contracts import ModelVersion
from llmos_server.engine.model_runner import create_runner
from llmos_server.models.attention_maps import own_config, own_maps
from llmos_server.models.weights import open_weights

pytestmark = pytest.mark.real_model
NUM_TOKENS = 8
PROMPTS = [
    "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
    "Once upon a time",
    "The three laws of thermodynamics are explained below. " * 6,
]


@pytest.fixture(scope="module")
def reference(smollm2: ModelVersion) -> PreTrainedModel:
    torch.set_num_threads(1)
    return load_reference(Path(smollm2.folder), Path(smollm2.weights[0]))


@pytest.fixture(scope="module")
def encode(smollm2: ModelVersion) -> Any:
    tokenizer = Tokenizer.from_file(str(Path(smollm2.folder) / "tokenizer.json"))
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


@pytest.fixture(scope="module")
def driver(smollm2: ModelVersion, make_driver: Any, make_worker_config: Any) -> Any:
    config = make_worker_config(Path(smollm2.folder), smollm2.weights, page_size=16, cache_bytes=2**27)
    return make_driver(*create_runner(config))


def test_greedy_tokens_equal_transformers_alone_and_batched(
    reference: PreTrainedModel, driver: Any, encode: Any
) -> None:
    prompts = [encode(text) for text in PROMPTS]
    batched = [driver.sequence(ids, NUM_TOKENS) for ids in prompts]
    driver.generate(*batched, num_tokens=NUM_TOKENS, max_tokens=50)
    for ids, in_batch in zip(prompts, batched, strict=True):
        alone = driver.sequence(ids, NUM_TOKENS)
        driver.generate(alone, num_tokens=NUM_TOKENS)
        tokens = torch.tensor([ids])
        generated = reference.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=False,
            min_new_tokens=0,
            max_new_tokens=NUM_TOKENS,
            eos_token_id=None,
        )
        assert alone.output_ids == generated[0, len(ids) :].tolist()
        assert in_batch.output_ids == alone.output_ids
        assert driver.logprobs[in_batch] == driver.logprobs[alone]


def test_attention_equals_transformers_in_all_layers_and_heads(
    smollm2: ModelVersion, reference: PreTrainedModel, encode: Any
) -> None:
    """Nine query heads share three KV heads; the weights are packed."""
    ids = encode(PROMPTS[0])
    with torch.inference_mode():
        expected = torch.cat(reference(torch.tensor([ids]), output_attentions=True).attentions)
    config = own_config(Path(smollm2.folder))
    assert config is not None
    found = torch.stack(list(own_maps(config, open_weights([Path(smollm2.weights[0])], config), ids)))
    assert found.shape == expected.shape == (30, 9, len(ids), len(ids))
    assert float((found - expected).abs().max()) < 1e-3
