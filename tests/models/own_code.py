"""A tiny architecture in files of its own, as a repository brings it. A plain module: conftest.py has this folder on
sys.path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny_archs
from tokenizers import Tokenizer, models
from transformers import PreTrainedModel

CONFIGURATION = """
from transformers import LlamaConfig

class MineConfig(LlamaConfig):
    model_type = "mine"
"""

MODELING = """
from transformers import LlamaForCausalLM
from .configuration_mine import MineConfig

class MineForCausalLM(LlamaForCausalLM):
    config_class = MineConfig

    def forward(self, *args, **options):
        out = super().forward(*args, **options)
        out.logits = out.logits.flip(-1)  # So that its own code is what computes.
        return out
"""

OWN_ATTENTION = """
import torch

class OwnAttention(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = inner.q_proj, inner.k_proj, inner.v_proj, inner.o_proj

    def forward(self, hidden_states, **options):
        q, k, v = (p(hidden_states).view(*hidden_states.shape[:2], -1, 16).transpose(1, 2)
                   for p in (self.q_proj, self.k_proj, self.v_proj))
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o_proj(out.transpose(1, 2).flatten(2)), None

class MineByHand(MineForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        for layer in self.model.layers:
            layer.self_attn = OwnAttention(layer.self_attn)
"""

AUTO_MAP = {"AutoConfig": "configuration_mine.MineConfig", "AutoModelForCausalLM": "modeling_mine.MineForCausalLM"}


def create_plain() -> PreTrainedModel:
    """What the own code changes: a Llama that our own decoder could compute."""
    return tiny_archs.create("llama", {"rope_parameters": tiny_archs.DROPPED, "hidden_act": "silu"})


def write_own_model(folder: Path, class_name: str = "MineForCausalLM", prologue: str = "", **config: Any) -> Path:
    """prologue: code that runs when the modules are imported."""
    model = create_plain()
    model.save_pretrained(folder)
    auto_map = {**AUTO_MAP, "AutoModelForCausalLM": f"modeling_mine.{class_name}"}
    changes = {"model_type": "mine", "auto_map": auto_map, "architectures": [class_name], **config}
    tiny_archs.change_config(folder, **changes)
    (folder / "configuration_mine.py").write_text(prologue + CONFIGURATION)
    (folder / "modeling_mine.py").write_text(prologue + MODELING + OWN_ATTENTION)
    (folder / "tokenizer.json").write_text(Tokenizer(models.BPE()).to_str())
    return folder
