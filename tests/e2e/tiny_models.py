"""Tiny random checkpoints with a real byte-level BPE tokenizer, as safetensors folders and as GGUF files.

A plain module: conftest.py puts this folder on sys.path.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEXT = (
    "The sea is wide and the sky is wider. ",
    "I'm sure they've seen 1,234 ships in 2024! ",
    "naïve café, Zürich; 東京 ",
)
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
}


def train_tokenizer() -> Tokenizer:
    """GPT-2's split rules, about 400 tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT * 20, trainer)
    return tokenizer


def create_model(tokenizer: Tokenizer, model_type: str, **changes: Any) -> PreTrainedModel:
    """Random float32 weights with clear preferences: greedy choices are then far from ties."""
    end = tokenizer.token_to_id("<|im_end|>")
    ids = {"bos_token_id": tokenizer.token_to_id("<|endoftext|>"), "eos_token_id": end, "pad_token_id": end}
    values = {"model_type": model_type, "vocab_size": tokenizer.get_vocab_size(), **SHAPE, **ids, **changes}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**values), attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1:
            parameter.data = noise * 0.3 + (1.0 if "norm" in name else 0.0)
        else:
            parameter.data = noise * (1.5 / parameter.shape[1] ** 0.5)
    model.tie_weights()
    return model


def save_folder(folder: Path, model: PreTrainedModel, tokenizer: Tokenizer, **options: Any) -> Path:
    """As Transformers writes it. options: of save_pretrained."""
    model.save_pretrained(folder, **options)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token=SPECIAL[2], chat_template=TEMPLATE
    ).save_pretrained(folder)
    return folder


def save_gguf(path: Path, model: PreTrainedModel, tokenizer: Tokenizer, architecture: str, type_name: str) -> Path:
    """As llama.cpp's converter writes it; matrices in `type_name`, the rest in F32.

    The model's weights become what the file holds, so that its own `generate` is the reference.
    """
    writer = gguf.GGUFWriter(path, architecture)
    _add_config(writer, model.config)
    _add_tokenizer(writer, tokenizer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], model.config.num_hidden_layers)
    heads = {"q_proj": model.config.num_attention_heads, "k_proj": model.config.num_key_value_heads}
    kind = gguf.GGMLQuantizationType[type_name]
    for name, parameter in model.named_parameters():
        tensor_kind = kind if parameter.dim() == 2 else gguf.GGMLQuantizationType.F32
        packed = quantize(parameter.data.numpy(), tensor_kind)
        parameter.data = torch.from_numpy(np.array(dequantize(packed, tensor_kind), dtype=np.float32))
        part = name.split(".")[-2]
        if architecture == "llama" and part in heads:
            packed = permute(packed, heads[part])
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), packed, raw_dtype=tensor_kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def permute(rows: np.ndarray, num_heads: int) -> np.ndarray:
    """GGUF's llama holds the two halves of a head interleaved. rows: [num_heads * head_dim, ...]"""
    halves = rows.reshape(num_heads, 2, rows.shape[0] // num_heads // 2, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))


def _add_config(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    described = json.loads(tokenizer.to_str())["model"]
    texts = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(texts)
    writer.add_token_types([gguf.TokenType.CONTROL if t in SPECIAL else gguf.TokenType.NORMAL for t in texts])
    writer.add_token_merges([" ".join(pair) for pair in described["merges"]])
    writer.add_bos_token_id(texts.index(SPECIAL[0]))
    writer.add_eos_token_id(texts.index(SPECIAL[2]))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
