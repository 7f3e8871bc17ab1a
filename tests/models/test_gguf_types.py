"""One model with a matrix of every GGUF type, against Transformers on weights that the `gguf` package dequantised."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf_blocks import HALVES, random_blocks
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from llmos_server.engine.model_runner import create_runner

NUM_TOKENS = 16
CONFIG: dict[str, Any] = {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "vocab_size": 97,
    "hidden_size": 256,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}


@pytest.fixture
def model() -> PreTrainedModel:
    config = AutoConfig.for_model(**CONFIG)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()


def write(path: Path, model: PreTrainedModel) -> set[str]:
    """Gives the model random weights and writes the same, packed. Returns the types that were used."""
    rng = np.random.default_rng(4)
    writer = gguf.GGUFWriter(path, "qwen3")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, CONFIG["num_hidden_layers"])
    types = itertools.cycle(HALVES)
    used = set()
    for name, parameter in model.named_parameters():
        stored = names.get_name(name, (".weight",))
        if parameter.dim() == 1:
            values = (1 + 0.3 * rng.standard_normal(parameter.shape)).astype(np.float32)
            writer.add_tensor(stored, values)
        else:
            used.add(type_name := next(types))
            kind = gguf.GGMLQuantizationType[type_name]
            packed = random_blocks(type_name, *parameter.shape, rng, std=1.5 / parameter.shape[1] ** 0.5)
            writer.add_tensor(stored, packed, raw_dtype=kind)
            values = gguf.quants.dequantize(packed, kind)
        parameter.data = torch.from_numpy(np.array(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return used


def test_tokens_and_logprobs_equal_transformers(
    model: PreTrainedModel, tmp_path: Path, make_driver: Any, make_worker_config: Callable[..., Any]
) -> None:
    assert write(tmp_path / "m.gguf", model) == set(HALVES)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    config = make_worker_config(tmp_path, [str(tmp_path / "m.gguf")], 16, 2**21)
    driver = make_driver(*create_runner(config))
    prompt = [(i * i * 7 + i * 13) % 97 for i in range(40)]
    sequence = driver.sequence(prompt, NUM_TOKENS)
    (tokens,) = driver.generate(sequence, num_tokens=NUM_TOKENS)
    ids = torch.tensor([prompt])
    whole = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NUM_TOKENS)
    assert tokens == whole[0, len(prompt) :].tolist()
    with torch.no_grad():
        logprobs = model(whole).logits[0].log_softmax(-1)
    expected = [float(logprobs[len(prompt) - 1 + i, token]) for i, token in enumerate(tokens)]
    assert [entry.logprob for entry in driver.logprobs[sequence]] == pytest.approx(expected, abs=1e-4)
