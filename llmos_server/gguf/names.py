"""What GGUF calls a model's tensors, and what the field does: "blk.0.attn_q.weight" is
"model.layers.0.self_attn.q_proj.weight".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmos_server.gguf.architectures import ARCHITECTURES, HEAD, STORED_HEAD, architecture_name

LLAMA_SHAPED = ("llama", "qwen2", "qwen3")
"""Values of general.architecture whose tensors the two tables below name."""

TOP = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "rope_freqs": "rope_freqs",
}
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def from_gguf(name: str) -> str:
    """The Hugging Face name of a Llama-shaped model's tensor; an unknown one stays as it is."""
    stem, _, kind = name.rpartition(".")
    if stem in TOP:
        return f"{TOP[stem]}.{kind}"
    block, _, rest = stem.partition(".")
    layer, _, part = rest.partition(".")
    if block == "blk" and part in LAYER:
        return f"model.layers.{layer}.{LAYER[part]}.{kind}"
    return name


def usual_names(metadata: Mapping[str, Any], stored: Iterable[str]) -> dict[str, str]:
    """Name in the file -> the field's, no two alike; where that isn't known, the file's own.

    metadata: GGUFFile.metadata. Of a parameter that the file keeps in several tensors, each is named below it.
    """
    architecture = architecture_name(metadata)
    if architecture in LLAMA_SHAPED:
        return {name: from_gguf(name) for name in stored}
    known = ARCHITECTURES.get(architecture)
    num_layers = metadata.get(f"{metadata.get('general.architecture')}.block_count")
    if known is None or type(num_layers) is not int:
        return {name: name for name in stored}
    names = list(stored)
    # A damaged head may claim any number of layers; each that is there has a tensor.
    parameters = known.parameters(min(num_layers, len(names))) | {HEAD: (STORED_HEAD,)}
    found = {parts[0]: name for name, parts in parameters.items() if len(parts) == 1}
    for name, parts in parameters.items():
        found |= {part: f"{name}.{_last_two(part)}" for part in parts if len(parts) > 1}
    return {name: found.get(name, name) for name in names}


def _last_two(stored: str) -> str:
    """ "ffn_gate_exps.weight" of "blk.0.ffn_gate_exps.weight"."""
    return ".".join(stored.split(".")[-2:])
