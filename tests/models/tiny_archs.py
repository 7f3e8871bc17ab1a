"""Tiny random models of the architectures that run on Transformers' code, and of some that are refused.

A plain module: conftest.py puts this folder on sys.path. docs/model-names.md names the keys of SERVED.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

VOCAB_SIZE = 96
DROPPED = object()
"""Takes a value of SHAPE away."""
WINDOW = 9
"""Shorter than most prompts, so that it matters."""

SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
GPT2_SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 256,
    "bos_token_id": None,
    "eos_token_id": None,
}
EXPERTS = {"moe_intermediate_size": 32, "num_experts_per_tok": 2}
BOTH = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW}
MLA = {"q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 12}
DEEPSEEK = {
    **MLA,
    **EXPERTS,
    "head_dim": 8,
    "num_key_value_heads": 4,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "original_max_position_embeddings": 128,
    "short_factor": [1.0 + i / 8 for i in range(8)],
    "long_factor": [4.0 + i for i in range(8)],
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}

SERVED: dict[str, dict[str, Any]] = {
    "gemma": {},
    "gemma2": {**BOTH, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 8.0, "query_pre_attn_scalar": 16},
    "gemma3_text": {**BOTH, "query_pre_attn_scalar": 16},
    "gemma4_text": {**BOTH, "global_head_dim": 32, "hidden_size_per_layer_input": 0},
    "vaultgemma": {**BOTH, "query_pre_attn_scalar": 16},
    "phi": {"partial_rotary_factor": 0.5},
    "phi3": {"rope_parameters": LONGROPE, "sliding_window": WINDOW, "original_max_position_embeddings": 128},
    "phimoe": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt2": GPT2_SHAPE,
    "gpt_bigcode": GPT2_SHAPE,
    "gpt_neox": {"rotary_pct": 0.5},
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 32},
    "biogpt": {},
    "olmo": {"clip_qkv": 2.0},
    "olmo2": {},
    "olmo3": BOTH,
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "granite": {
        "attention_multiplier": 0.3,
        "embedding_multiplier": 2.0,
        "residual_multiplier": 0.5,
        "logits_scaling": 3.0,
    },
    "granitemoe": {"num_local_experts": 4, "num_experts_per_tok": 2, "logits_scaling": 3.0},
    "cohere": {"logit_scale": 0.3},
    "cohere2": {**BOTH, "logit_scale": 0.3},
    "starcoder2": {"sliding_window": WINDOW},
    "smollm3": {"no_rope_layers": [1, 0]},
    "stablelm": {"partial_rotary_factor": 0.5},
    "nemotron": {"partial_rotary_factor": 0.5},
    "helium": {},
    "glm": {"partial_rotary_factor": 0.5},
    "glm4": {"partial_rotary_factor": 0.5},
    "exaone4": BOTH,
    "seed_oss": {},
    "arcee": {},
    "mixtral": {"num_local_experts": 4, "sliding_window": WINDOW},
    "qwen2_moe": {**EXPERTS, "num_experts": 4, "shared_expert_intermediate_size": 48},
    "qwen3_moe": {**EXPERTS, "num_experts": 4},
    "glm4_moe": {**EXPERTS, "n_routed_experts": 4, "n_shared_experts": 1, "first_k_dense_replace": 1},
    "deepseek_v2": DEEPSEEK,
    "deepseek_v3": {**DEEPSEEK, "n_group": 2, "topk_group": 1},
    "gpt_oss": {**BOTH, "num_local_experts": 4, "rope_parameters": YARN},
    # Of the own decoder's families, with what it doesn't compute.
    "llama": {"rope_parameters": YARN, "hidden_act": "gelu"},
    "qwen3": {"rope_parameters": YARN},
}
"""model_type -> what its config says beside SHAPE."""

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "gptj": ({**GPT2_SHAPE, "rotary_dim": 8}, "does not go through"),
    "falcon": ({"head_dim": DROPPED}, "does not go through"),
    "bloom": ({}, "does not go through"),
    "mpt": ({"d_model": 64, "n_heads": 4, "n_layers": 2}, "does not go through"),
    "gpt_neo": ({"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]}, "does not go"),
    "lfm2": ({"layer_types": ["conv", "full_attention"]}, "only 1 of its 2 layers"),
    "mamba2": ({"num_heads": 16, "head_dim": 8, "state_size": 16, "n_groups": 2}, "does not go through"),
    "recurrent_gemma": ({"block_types": ["recurrent", "attention"], "lru_width": 64}, "only 1 of its 2 layers"),
    "qwen3_next": ({**EXPERTS, "num_experts": 4, "layer_types": ["linear_attention", "full_attention"]}, "only 1"),
    "falcon_h1": ({"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 16}, "differ"),
    "llama4_text": (
        {"attention_chunk_size": 32, "num_local_experts": 2, "intermediate_size_mlp": 96},
        "masks otherwise",
    ),
    "diffllama": ({}, "more than once"),
    "bamba": ({"mamba_n_heads": 8, "mamba_d_head": 16, "attn_layer_indices": [1]}, "only 1 of its 2 layers"),
    "codegen": ({**GPT2_SHAPE, "rotary_dim": 8}, "does not go through"),
    "falcon_mamba": ({"state_size": 16, "num_heads": DROPPED}, "does not go through"),
    "mamba": ({"state_size": 16}, "does not go through"),
    "rwkv": ({"context_length": 256, "attention_hidden_size": 64}, "does not go through"),
    "xglm": ({"d_model": 64, "ffn_dim": 96, "num_layers": 2, "attention_heads": 4}, "does not go through"),
    "bert": ({"is_decoder": False}, "masks otherwise"),
}
"""model_type -> what its config says beside SHAPE, and a piece of the reason."""


def create(model_type: str, changes: dict[str, Any] | None = None) -> PreTrainedModel:
    """Random float32 weights with clear preferences: greedy choices are then far from ties."""
    own = SERVED[model_type] if model_type in SERVED else REFUSED[model_type][0]
    base = {} if own.keys() >= GPT2_SHAPE.keys() else SHAPE
    values = {"model_type": model_type, **base, **own, **(changes or {})}
    config = AutoConfig.for_model(**{k: v for k, v in values.items() if v is not DROPPED})
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1:
            is_gain = "norm" in name or "ln_" in name
            parameter.data = noise * 0.3 + (1.0 if is_gain else 0.0)
        else:
            parameter.data = noise * (1.5 / parameter.shape[-1] ** 0.5)
    model.tie_weights()
    return model


def change_config(folder: Path, **changes: Any) -> None:
    """In config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
