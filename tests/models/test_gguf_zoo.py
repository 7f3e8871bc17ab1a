"""GGUF files of architectures that Transformers' code computes: imported, loaded and compared with the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from tiny_archs import BOTH, EXPERTS, GPT2_SHAPE, SHAPE
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from llmos_server.engine.model_runner import create_runner
from llmos_server.errors import UnsupportedModel
from llmos_server.gguf.architectures import ARCHITECTURES, TOP
from llmos_server.registry.importing import import_gguf

NUM_TOKENS = 12
PROMPT = [(i * i * 7 + i * 13) % 96 for i in range(40)]
TIED = {"tie_word_embeddings": True}

CONFIGS: dict[str, dict[str, Any]] = {
    "command-r": {"model_type": "cohere", "logit_scale": 0.25, "layer_norm_eps": 1e-5, **TIED},
    "phi3": {"model_type": "phi3", "sliding_window": 9, "tie_word_embeddings": False},
    "smollm3": {"model_type": "smollm3", "num_hidden_layers": 5, **TIED},
    "gemma": {"model_type": "gemma", **TIED},
    "gemma2": {
        **BOTH, **TIED, "model_type": "gemma2", "attn_logit_softcapping": 5.0, "final_logit_softcapping": 8.0,
        "query_pre_attn_scalar": 16,
    },
    "gemma3": {
        **TIED, "model_type": "gemma3_text", "query_pre_attn_scalar": 16, "num_hidden_layers": 7, "sliding_window": 9,
    },
    "gpt2": {**GPT2_SHAPE, "model_type": "gpt2", **TIED},
    "mixtral": {
        "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2, "tie_word_embeddings": False,
    },
    "qwen2moe": {
        "model_type": "qwen2_moe", **EXPERTS, "num_experts": 4, "shared_expert_intermediate_size": 48,
        "norm_topk_prob": False, "decoder_sparse_step": 1, "tie_word_embeddings": False,
    },
    "starcoder2": {"model_type": "starcoder2", "use_bias": True, "sliding_window": None, **TIED},
    "granite": {
        "model_type": "granite", "attention_multiplier": 0.3, "embedding_multiplier": 3.0, "residual_multiplier": 0.4,
        "logits_scaling": 2.0, **TIED,
    },
    "olmo2": {"model_type": "olmo2", "tie_word_embeddings": False},
    "qwen3moe": {
        "model_type": "qwen3_moe", **EXPERTS, "num_experts": 4, "norm_topk_prob": True, "tie_word_embeddings": False,
        "decoder_sparse_step": 1,
    },
}  # fmt: skip
KEYS: dict[str, str] = {
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "sliding_window": "attention.sliding_window",
    "attention_multiplier": "attention.scale",
    "embedding_multiplier": "embedding_scale",
    "residual_multiplier": "residual_scale",
    "logits_scaling": "logit_scale",
    "num_experts": "expert_count",
    "num_local_experts": "expert_count",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "max_position_embeddings": "context_length",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "logit_scale": "logit_scale",
    "norm_epsilon": "attention.layer_norm_epsilon",
    "layer_norm_epsilon": "attention.layer_norm_epsilon",
    "layer_norm_eps": "attention.layer_norm_epsilon",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
}
"""Of config.json -> below the architecture, as llama.cpp's converters write them."""


def create_model(name: str) -> PreTrainedModel:
    shape = {} if name == "gpt2" else SHAPE
    config = AutoConfig.for_model(**{**shape, **CONFIGS[name]})
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(11)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        scale = 0.3 if parameter.dim() == 1 else 1.5 / parameter.shape[-1] ** 0.5
        parameter.data = noise * scale + (1.0 if parameter.dim() == 1 and name not in GEMMAS else 0.0)
    model.tie_weights()
    return model


STATED = {"mixtral": "llama"}
"""What converters call it, where that is another name."""
GEMMAS = ("gemma", "gemma2", "gemma3")


def converted(name: str, model: PreTrainedModel) -> dict[str, np.ndarray]:
    """What the converters make of the parameters, by the names of the `gguf` package."""
    architecture = next(arch for arch, text in gguf.MODEL_ARCH_NAMES.items() if text == STATED.get(name, name))
    names = gguf.get_tensor_name_map(architecture, model.config.num_hidden_layers)
    tensors: dict[str, np.ndarray] = {}
    for parameter, tensor in model.named_parameters():
        values = tensor.data.numpy()
        if name in GEMMAS and parameter.endswith("norm.weight"):
            values = values + 1
        if ARCHITECTURES[name].pairs_are_interleaved and (".q_proj." in parameter or ".k_proj." in parameter):
            num_heads = len(values) // 16
            values = values.reshape(num_heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        if parameter.endswith("experts.gate_up_proj"):
            layer = parameter.split(".")[2]
            gate, up = np.split(values, 2, axis=1)
            tensors |= {f"blk.{layer}.ffn_gate_exps.weight": gate, f"blk.{layer}.ffn_up_exps.weight": up}
            continue
        if name == "gpt2" and ".h." in parameter:
            values = values.T
        whole = parameter if parameter.endswith((".weight", ".bias")) else f"{parameter}.weight"
        stored = names.get_name(whole, (".weight", ".bias"))
        assert stored is not None, parameter
        tensors[stored] = values.squeeze()
    return tensors


def write(path: Path, name: str, model: PreTrainedModel, **changes: Any) -> Path:
    """changes: of keys below the architecture; None removes."""
    values = {key: value for own, key in KEYS.items() if (value := getattr(model.config, own, None)) is not None}
    if theta := getattr(model.config, "rope_parameters", None):
        values["rope.freq_base"] = theta.get("rope_theta") or theta["full_attention"]["rope_theta"]
    if name not in ("gemma2", "gemma3", "phi3"):
        values.pop("attention.sliding_window", None)
    if name == "gpt2":
        values["feed_forward_length"] = 4 * values["embedding_length"]
    writer = gguf.GGUFWriter(path, STATED.get(name, name))
    for key, value in (values | changes).items():
        if value is not None:
            add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
            add(f"{STATED.get(name, name)}.{key}", value)
    tokens = [*(f"<{i}>" for i in range(96))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(i) for i in range(96)])
    writer.add_token_types([3] * 3 + [1] * 93)
    for stored, tensor in converted(name, model).items():
        writer.add_tensor(stored, np.ascontiguousarray(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_tokens_equal_the_originals(
    name: str, tmp_path: Path, make_driver: Any, make_worker_config: Callable[..., Any]
) -> None:
    model = create_model(name)
    path = write(tmp_path / "m.gguf", name, model)
    import_gguf(path, tmp_path)
    driver = make_driver(*create_runner(make_worker_config(tmp_path, [str(path)], 16, 2**22)))
    sequence = driver.sequence(PROMPT, NUM_TOKENS)
    (tokens,) = driver.generate(sequence, num_tokens=NUM_TOKENS)
    ids = torch.tensor([PROMPT])
    mask = torch.ones_like(ids)
    whole = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=NUM_TOKENS, eos_token_id=None)
    assert tokens == whole[0, len(PROMPT) :].tolist()
    with torch.no_grad():
        logprobs = model(whole).logits[0].log_softmax(-1)
    expected = [float(logprobs[len(PROMPT) - 1 + i, token]) for i, token in enumerate(tokens)]
    assert [entry.logprob for entry in driver.logprobs[sequence]] == pytest.approx(expected, abs=1e-4)


def test_every_architecture_is_tried() -> None:
    assert set(CONFIGS) == set(ARCHITECTURES)
    assert set(TOP.values()) == {"token_embd.weight", "output_norm.weight"}


@pytest.mark.parametrize(
    ("name", "changes", "match"),
    [
        ("gemma3", {"attention.sliding_window": None}, "sliding_window"),
        ("gemma3", {"rope.scaling.type": None, "attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
        ("gemma", {"attention.sliding_window": 4}, "sliding_window"),
        ("olmo2", {"logit_scale": 2.0}, "logit_scale"),
        ("qwen3moe", {"expert_used_count": None}, "expert_used_count"),
        ("granite", {"expert_count": 4}, "expert_count"),
        ("mixtral", {"expert_used_count": None}, r"llama\.expert_used_count"),
        ("qwen2moe", {"expert_shared_feed_forward_length": None}, "expert_shared_feed_forward_length"),
        ("starcoder2", {"attention.layer_norm_epsilon": None}, "layer_norm_epsilon"),
        ("granite", {"block_count": 3}, r"blk\.2\."),
    ],
)
def test_what_the_config_cant_say_is_refused(tmp_path: Path, name: str, changes: Mapping[str, Any], match: str) -> None:
    path = write(tmp_path / "m.gguf", name, create_model(name), **changes)
    with pytest.raises(UnsupportedModel, match=match):
        import_gguf(path, tmp_path)
