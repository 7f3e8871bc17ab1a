"""How GGUF stores the decoders that Transformers' code computes: the names of tensors, and what writers change in them.

From llama.cpp's converters; tests/models/test_gguf_zoo.py holds the names to the `gguf` package's own table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TOP = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
HEAD, STORED_HEAD = "lm_head.weight", "output.weight"
"""Absent where the head is the embedding matrix."""

ATTENTION = {f"self_attn.{part}_proj.weight": (f"attn_{part}.weight",) for part in "qkv"} | {
    "self_attn.o_proj.weight": ("attn_output.weight",)
}
QK_NORMS = {f"self_attn.{part}_norm.weight": (f"attn_{part}_norm.weight",) for part in "qk"}
MLP = {f"mlp.{part}_proj.weight": (f"ffn_{part}.weight",) for part in ("gate", "up", "down")}
NORMS_BEFORE = {
    "input_layernorm.weight": ("attn_norm.weight",),
    "post_attention_layernorm.weight": ("ffn_norm.weight",),
}
NORMS_AROUND = {
    "input_layernorm.weight": ("attn_norm.weight",),
    "post_attention_layernorm.weight": ("post_attention_norm.weight",),
    "pre_feedforward_layernorm.weight": ("ffn_norm.weight",),
    "post_feedforward_layernorm.weight": ("post_ffw_norm.weight",),
}
FUSED = {
    "self_attn.qkv_proj.weight": ("attn_qkv.weight",),
    "self_attn.o_proj.weight": ("attn_output.weight",),
    "mlp.gate_up_proj.weight": ("ffn_up.weight",),
    "mlp.down_proj.weight": ("ffn_down.weight",),
}
NORMS_BEHIND = {
    "post_attention_layernorm.weight": ("post_attention_norm.weight",),
    "post_feedforward_layernorm.weight": ("post_ffw_norm.weight",),
}
EXPERTS = {
    "mlp.gate.weight": ("ffn_gate_inp.weight",),
    "mlp.experts.gate_up_proj": ("ffn_gate_exps.weight", "ffn_up_exps.weight"),
    "mlp.experts.down_proj": ("ffn_down_exps.weight",),
}
SHARED_GATE = "mlp.shared_expert_gate.weight"
"""One row, which the file holds as a vector."""
SHARED_EXPERT = {
    **{f"mlp.shared_expert.{part}_proj.weight": (f"ffn_{part}_shexp.weight",) for part in ("gate", "up", "down")},
    SHARED_GATE: ("ffn_gate_inp_shexp.weight",),
}


def _with_biases(parts: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Modules and what they are called, each with a weight and a bias."""
    return {f"{own}.{kind}": (f"{stored}.{kind}",) for own, stored in parts.items() for kind in ("weight", "bias")}


QKV_BIASES = {f"self_attn.{part}_proj.bias": (f"attn_{part}.bias",) for part in "qkv"}
STARCODER2 = _with_biases(
    {
        **{f"self_attn.{part}_proj": f"attn_{part}" for part in "qkv"},
        "self_attn.o_proj": "attn_output",
        "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
)
GPT2 = _with_biases(
    {
        "ln_1": "attn_norm",
        "attn.c_attn": "attn_qkv",
        "attn.c_proj": "attn_output",
        "ln_2": "ffn_norm",
        "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down",
    }
)
GPT2_TOP = {
    "transformer.wte.weight": "token_embd.weight",
    "transformer.wpe.weight": "position_embd.weight",
    "transformer.ln_f.weight": "output_norm.weight",
    "transformer.ln_f.bias": "output_norm.bias",
}


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One value of general.architecture."""

    top: Mapping[str, str] = field(default_factory=lambda: TOP, repr=False)
    """Parameter outside of the layers -> tensor."""
    layers: str = "model.layers"
    layer: Mapping[str, tuple[str, ...]] = field(repr=False)
    """Parameter below layers.N -> tensors below blk.N; several are joined along the last dimension but one."""
    norms_hold_one_more: bool = False
    """Transformers multiplies by 1 + the weight of a norm, the file holds the sum."""
    pairs_are_interleaved: bool = False
    """Rows of q and k are in the order of llama.cpp's rotation."""
    has_conv1d: bool = False
    """Transformers keeps the layers' matrices the other way round, in GPT-2's Conv1D."""

    def parameters(self, num_layers: int) -> dict[str, tuple[str, ...]]:
        """Every parameter but the head -> the tensors that it is made of."""
        found: dict[str, tuple[str, ...]] = {name: (stored,) for name, stored in self.top.items()}
        for index in range(num_layers):
            for name, stored in self.layer.items():
                found[f"{self.layers}.{index}.{name}"] = tuple(f"blk.{index}.{part}" for part in stored)
        return found


GEMMA2 = Architecture(layer={**NORMS_AROUND, **ATTENTION, **MLP}, norms_hold_one_more=True)

ARCHITECTURES: dict[str, Architecture] = {
    "command-r": Architecture(layer={"input_layernorm.weight": ("attn_norm.weight",), **ATTENTION, **MLP}),
    "gemma": Architecture(layer={**NORMS_BEFORE, **ATTENTION, **MLP}, norms_hold_one_more=True),
    "gemma2": GEMMA2,
    "gemma3": Architecture(layer={**GEMMA2.layer, **QK_NORMS}, norms_hold_one_more=True),
    "gpt2": Architecture(top=GPT2_TOP, layers="transformer.h", layer=GPT2, has_conv1d=True),
    "granite": Architecture(layer={**NORMS_BEFORE, **ATTENTION, **MLP}, pairs_are_interleaved=True),
    "mixtral": Architecture(layer={**NORMS_BEFORE, **ATTENTION, **EXPERTS}, pairs_are_interleaved=True),
    "olmo2": Architecture(layer={**NORMS_BEHIND, **ATTENTION, **QK_NORMS, **MLP}),
    "phi3": Architecture(layer={**NORMS_BEFORE, **FUSED}),
    "qwen2moe": Architecture(layer={**NORMS_BEFORE, **ATTENTION, **QKV_BIASES, **EXPERTS, **SHARED_EXPERT}),
    "qwen3moe": Architecture(layer={**NORMS_BEFORE, **ATTENTION, **QK_NORMS, **EXPERTS}),
    "smollm3": Architecture(layer={**NORMS_BEFORE, **ATTENTION, **MLP}, pairs_are_interleaved=True),
    "starcoder2": Architecture(top={**TOP, "model.norm.bias": "output_norm.bias"}, layer=STARCODER2),
}


def architecture_name(metadata: Mapping[str, Any]) -> str:
    """general.architecture, but for Mixtral, which converters call "llama"; its experts tell them apart."""
    name = str(metadata.get("general.architecture"))
    return "mixtral" if name == "llama" and metadata.get("llama.expert_count") else name
