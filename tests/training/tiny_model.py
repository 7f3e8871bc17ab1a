"""A tiny random Llama with a byte-level tokenizer and a chat template, pulled into a registry, and files to train on.

A plain module: conftest.py puts this folder on sys.path.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message.reasoning_content and loop.last %}"
    "{{ '<think>' + message.reasoning_content + '</think>' }}{% endif %}"
    "{{ message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""Writes the reasoning of the last turn alone, as templates of reasoning models do."""
NAMES = ("Anna", "Ben", "Carla", "David")
THINGS = ("apples", "chairs", "books")
SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}


def save_tokenizer(folder: Path) -> Tokenizer:
    """And what belongs to it, but for config.json."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*NAMES, *THINGS, "user assistant orders"] * 4, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": SPECIAL[0], "eos_token": SPECIAL[1], "pad_token": SPECIAL[1]}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return tokenizer


def save_model(folder: Path) -> Path:
    """Imports torch and transformers. Clear preferences, so that bits of rounding choose no token."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = save_tokenizer(folder)
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    torch.manual_seed(7)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=tokenizer.get_vocab_size(), **SHAPE, **ends, rope_theta=10000.0))
    model.save_pretrained(folder)
    return folder


def conversations(num: int) -> Iterator[dict[str, object]]:
    """Orders, to be written down in one form."""
    for number in range(num):
        name, thing = NAMES[number % len(NAMES)], THINGS[number % len(THINGS)]
        asked = {"role": "user", "content": f"{name} orders {number % 10} {thing}{'.' * (number % 5)}"}
        yield {"messages": [asked, {"role": "assistant", "content": f"{name}|{number % 10}|{thing}"}]}


def preferences(num: int) -> Iterator[dict[str, object]]:
    """The same, with a worse answer beside."""
    for line in conversations(num):
        asked, answer = line["messages"]  # type: ignore[misc]
        worse = {"role": "assistant", "content": "I can't tell."}
        yield {"input": {"messages": [asked]}, "preferred_output": [answer], "non_preferred_output": [worse]}


def write_lines(path: Path, lines: Iterator[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
