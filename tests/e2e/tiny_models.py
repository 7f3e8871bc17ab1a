"""Tiny random checkpoints with a real byte-level BPE tokenizer, as safetensors folders and as GGUF files.

A plain module: conftest.py puts this folder on sys.path.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import originals
import torch
from gguf.quants import dequantize, quantize
from gguf_blocks import random_blocks
from sentencepiece import SentencePieceProcessor
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


MIXED = ("Q4_K", "Q6_K", "Q5_0", "IQ4_XS", "Q3_K", "Q5_K", "Q2_K", "IQ4_NL", "Q5_1")
"""Types of a file's matrices, in turn."""
MIXED_SHAPE = {"hidden_size": 256, "intermediate_size": 256, "head_dim": 64}
"""K types come in blocks of 256."""


def train_sentencepiece() -> SentencePieceProcessor:
    """Llama 2's kind, with the control tokens that the template writes."""
    control = {"control_symbols": list(SPECIAL)}
    return SentencePieceProcessor(model_proto=originals.train_sentencepiece(**originals.LLAMA, **control))


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


def save_gguf(
    path: Path, model: PreTrainedModel, tokenizer: Mapping[str, Any], architecture: str, types: Sequence[str]
) -> Path:
    """As llama.cpp's converter writes it; matrices in `types`, in turn, the rest in F32.

    tokenizer: metadata of one of the functions below.

    The model's weights become what the file holds, so that its own `generate` is the reference.
    """
    writer = gguf.GGUFWriter(path, architecture)
    _add_config(writer, model.config)
    for key, value in tokenizer.items():
        add = {bool: writer.add_bool, int: writer.add_uint32, str: writer.add_string, list: writer.add_array}
        add[type(value)](key, value)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], model.config.num_hidden_layers)
    heads = {"q_proj": model.config.num_attention_heads, "k_proj": model.config.num_key_value_heads}
    turn, rng = itertools.cycle(types), np.random.default_rng(7)
    for name, parameter in model.named_parameters():
        tensor_kind = gguf.GGMLQuantizationType[next(turn) if parameter.dim() == 2 else "F32"]
        try:
            packed = quantize(parameter.data.numpy(), tensor_kind)
        except NotImplementedError:  # The library can only read this type.
            packed = random_blocks(tensor_kind.name, *parameter.shape, rng, std=float(parameter.data.std()))
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


def byte_level_metadata(tokenizer: Tokenizer) -> dict[str, Any]:
    described = json.loads(tokenizer.to_str())["model"]
    texts = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    values = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": texts,
        "token_type": [3 if text in SPECIAL else 1 for text in texts],
        "merges": [" ".join(pair) for pair in described["merges"]],
        "bos_token_id": texts.index(SPECIAL[0]),
        "eos_token_id": texts.index(SPECIAL[2]),
        "add_bos_token": False,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in values.items()} | {"tokenizer.chat_template": TEMPLATE}


def sentencepiece_metadata(original: SentencePieceProcessor) -> dict[str, Any]:
    end = original.piece_to_id(SPECIAL[2])
    metadata = originals.sentencepiece_metadata(original, "llama", eos_token_id=end, add_bos_token=False)
    return metadata | {"tokenizer.chat_template": TEMPLATE}
