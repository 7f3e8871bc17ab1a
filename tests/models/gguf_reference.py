"""A GGUF as Transformers itself reads and computes it, in float32: an oracle for our reader and our decoder.

A plain module: tests of other folders put this folder on sys.path.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

COMPARED = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "vocab_size",
)


def load_reference(folder: Path, weights: Path) -> PreTrainedModel:
    """folder: the registry's, with a config.json. Transformers' reading of the file must agree with it."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    config = AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    loaded = load_gguf_checkpoint(str(weights), return_tensors=True, model_to_load=model)
    read = loaded["config"]
    assert {name: read[name] for name in COMPARED} == {name: getattr(config, name) for name in COMPARED}
    assert abs(read["rms_norm_eps"] / config.rms_norm_eps - 1) < 1e-6
    assert read["rope_theta"] == config.rope_parameters["rope_theta"]
    missing, unexpected = model.load_state_dict(loaded["tensors"], strict=False)
    assert (missing, unexpected) == (["lm_head.weight"] if config.tie_word_embeddings else [], [])
    model.tie_weights()
    return model.eval()
