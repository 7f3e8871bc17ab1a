"""config.json of the GGUF architectures that Transformers' code computes.

What converters leave out is what llama.cpp takes for granted of the architecture; what can't be said is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmos_server.errors import UnsupportedModel
from llmos_server.registry.gguf_metadata import MetadataReader, short

Config = dict[str, Any]

GEMMA_PATTERN = 6
"""Every sixth layer of Gemma 3 sees everything."""
GEMMA3_LOCAL_THETA = 10_000.0
GEMMA2_27B_LAYERS, GEMMA3_27B_LAYERS = 46, 62
"""The models that divide by the square root of hidden_size / heads instead of the size of a head."""


def _command_r(read: MetadataReader, common: Config) -> Config:
    return {
        "architectures": ["CohereForCausalLM"],
        "model_type": "cohere",
        "hidden_act": "silu",
        "layer_norm_eps": read.number("attention.layer_norm_epsilon"),
        "logit_scale": read.number("logit_scale", 1.0),
        "use_qk_norm": False,
    }


def _gemma(read: MetadataReader, common: Config) -> Config:
    return {
        "architectures": ["GemmaForCausalLM"],
        "model_type": "gemma",
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
    }


def _gemma2(read: MetadataReader, common: Config) -> Config:
    return {
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": _query_scalar(common, GEMMA2_27B_LAYERS),
        "attn_logit_softcapping": read.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": read.number("final_logit_softcapping", 30.0),
        **_windows(read, common, every=2),
    }


def _gemma3(read: MetadataReader, common: Config) -> Config:
    softcap = read.get("final_logit_softcapping")
    scaled: Config = {"rope_type": "default"}
    if (kind := read.get("rope.scaling.type") or "none") == "linear":
        scaled = {"rope_type": "linear", "factor": read.number("rope.scaling.factor")}
    elif kind != "none":
        raise UnsupportedModel(f"RoPE scaling {short(kind)} is not supported for gemma3; 'linear' is.")
    local_theta = read.number("rope.freq_base_swa", GEMMA3_LOCAL_THETA)
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": _query_scalar(common, GEMMA3_27B_LAYERS),
        "final_logit_softcapping": read.number("final_logit_softcapping") if softcap else None,
        "rope_parameters": {
            "full_attention": {**scaled, "rope_theta": read.number("rope.freq_base", 1_000_000.0)},
            "sliding_attention": {"rope_type": "default", "rope_theta": local_theta},
        },
        **_windows(read, common, every=GEMMA_PATTERN),
    }


def _gpt2(read: MetadataReader, common: Config) -> Config:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "layer_norm_epsilon": read.number("attention.layer_norm_epsilon"),
        "n_inner": common["intermediate_size"],
    }


def _granite(read: MetadataReader, common: Config) -> Config:
    return {
        "architectures": ["GraniteForCausalLM"],
        "model_type": "granite",
        "hidden_act": "silu",
        "attention_multiplier": read.number("attention.scale", common["head_dim"] ** -0.5),
        "embedding_multiplier": read.number("embedding_scale", 1.0),
        "residual_multiplier": read.number("residual_scale", 1.0),
        "logits_scaling": read.number("logit_scale", 1.0),
    }


def _mixtral(read: MetadataReader, common: Config) -> Config:
    return {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "hidden_act": "silu",
        "num_local_experts": read.count("expert_count"),
        "num_experts_per_tok": read.count("expert_used_count"),
        "sliding_window": read.get("attention.sliding_window") or None,
    }


def _olmo2(read: MetadataReader, common: Config) -> Config:
    return {"architectures": ["Olmo2ForCausalLM"], "model_type": "olmo2", "hidden_act": "silu"}


def _phi3(read: MetadataReader, common: Config) -> Config:
    """A window of 0 stands for none. LongRoPE shows in tensors of its own, which are refused."""
    return {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "hidden_act": "silu",
        "original_max_position_embeddings": common["max_position_embeddings"],
        "sliding_window": read.get("attention.sliding_window") or None,
    }


def _smollm3(read: MetadataReader, common: Config) -> Config:
    """Every fourth layer has no rotation."""
    return {
        "architectures": ["SmolLM3ForCausalLM"],
        "model_type": "smollm3",
        "hidden_act": "silu",
        "no_rope_layer_interval": 4,
        "use_sliding_window": False,
    }


def _qwen2moe(read: MetadataReader, common: Config) -> Config:
    """llama.cpp doesn't make the chosen experts' weights sum to one."""
    return {
        "architectures": ["Qwen2MoeForCausalLM"],
        "model_type": "qwen2_moe",
        "hidden_act": "silu",
        "num_experts": read.count("expert_count"),
        "num_experts_per_tok": read.count("expert_used_count"),
        "moe_intermediate_size": read.count("expert_feed_forward_length"),
        "shared_expert_intermediate_size": read.count("expert_shared_feed_forward_length"),
        "norm_topk_prob": False,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "qkv_bias": True,
        "use_sliding_window": False,
    }


def _starcoder2(read: MetadataReader, common: Config) -> Config:
    """Converters leave the originals' window out; what a file doesn't say isn't computed, as in llama.cpp."""
    return {
        "architectures": ["Starcoder2ForCausalLM"],
        "model_type": "starcoder2",
        "hidden_act": "gelu_pytorch_tanh",
        "norm_epsilon": read.number("attention.layer_norm_epsilon"),
        "use_bias": True,
        "sliding_window": read.get("attention.sliding_window") or None,
    }


def _qwen3moe(read: MetadataReader, common: Config) -> Config:
    return {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "hidden_act": "silu",
        "num_experts": read.count("expert_count"),
        "num_experts_per_tok": read.count("expert_used_count"),
        "moe_intermediate_size": read.count("expert_feed_forward_length"),
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "use_sliding_window": False,
    }


BUILDERS: Mapping[str, Callable[[MetadataReader, Config], Config]] = {
    "command-r": _command_r,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "gpt2": _gpt2,
    "granite": _granite,
    "mixtral": _mixtral,
    "olmo2": _olmo2,
    "phi3": _phi3,
    "qwen2moe": _qwen2moe,
    "qwen3moe": _qwen3moe,
    "smollm3": _smollm3,
    "starcoder2": _starcoder2,
}
"""gguf.architectures.architecture_name -> what its config.json has beside the keys that all have."""

UNDERSTOOD: Mapping[str, frozenset[str]] = {
    "command-r": frozenset({"logit_scale"}),
    "gemma2": frozenset({"attn_logit_softcapping", "final_logit_softcapping", "attention.sliding_window_pattern"}),
    "gemma3": frozenset({"final_logit_softcapping", "attention.sliding_window_pattern"}),
    "granite": frozenset({"attention.scale", "embedding_scale", "residual_scale", "logit_scale"}),
    **dict.fromkeys(("mixtral", "qwen2moe", "qwen3moe"), frozenset({"expert_count"})),
}
"""Of gguf_config.CHANGES_THE_ANSWER, what the builders take into account."""


def _query_scalar(common: Config, num_layers_27b: int) -> int:
    is_27b = common["num_hidden_layers"] == num_layers_27b
    return int(common["hidden_size"] // common["num_attention_heads"] if is_27b else common["head_dim"])


def _windows(read: MetadataReader, common: Config, every: int) -> Config:
    """Every so many layers one sees everything, the others a window."""
    stated = read.get("attention.sliding_window_pattern")
    if type(stated) is int and stated > 0:
        every = stated
    num_layers = common["num_hidden_layers"]
    slides = [bool((i + 1) % every) for i in range(num_layers)]
    if isinstance(stated, list):
        if len(stated) != num_layers or not all(isinstance(is_sliding, bool) for is_sliding in stated):
            raise UnsupportedModel(f"attention.sliding_window_pattern is {short(stated)} for {num_layers} layers.")
        slides = stated
    return {
        "sliding_window": read.count("attention.sliding_window"),
        "layer_types": ["sliding_attention" if is_sliding else "full_attention" for is_sliding in slides],
    }
