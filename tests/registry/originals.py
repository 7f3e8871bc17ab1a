"""Small tokenizers by their own libraries, and the GGUF metadata that llama.cpp's converters write for them.

A plain module: conftest.py puts this folder on sys.path.
"""

from __future__ import annotations

import io
import json
import random
import re
from pathlib import Path
from typing import Any

import sentencepiece
from sentencepiece import SentencePieceProcessor
from tokenizers import BertWordPieceTokenizer, Tokenizer

TEXTS = json.loads((Path(__file__).parents[1] / "data" / "tokenizer_texts.json").read_text())
WORDS: list[str] = TEXTS["words"]
NASTY: list[str] = TEXTS["nasty"]
MARKS: list[str] = TEXTS["marks"]
JOINS = re.compile("[\u0e33\u0eb3\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff\uff9e\uff9f]|[\U0001f1e6-\U0001f3ff]")
"""What makes one character with the one before, beside marks."""

SPECIAL_TEXTS = ["<s>a", "</s>", "a <s> b</s> c", "<unk>x"]

LLAMA = {
    "model_type": "bpe",
    "vocab_size": 700,
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "split_digits": True,
    "allow_whitespace_only_pieces": True,
}
"""Llama 2's settings, but for the size."""

GEMMA = {**LLAMA, "add_dummy_prefix": False, "user_defined_symbols": ["<start>", "▁▁", "▁▁▁", "\n\n", "<b>"]}
T5 = {"model_type": "unigram", "vocab_size": 400, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}


def corpus(num_lines: int = 1500) -> list[str]:
    rng = random.Random(0)
    ends = [".", "!", "\n", "  ", ""]
    return [" ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 12))) + rng.choice(ends) for _ in range(num_lines)]


def train_sentencepiece(**options: Any) -> bytes:
    """A serialised tokenizer.model."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()),
        model_writer=written,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
        **options,
    )
    return written.getvalue()


def charsmap_of(model: bytes) -> list[int]:
    """The compiled table in a tokenizer.model, as GGUF stores it."""
    start = model.index(b"nmt_nfkc\x12") + len(b"nmt_nfkc\x12")
    length = shift = 0
    while True:
        byte = model[start]
        length |= (byte & 127) << shift
        start, shift = start + 1, shift + 7
        if byte < 128:
            return list(model[start : start + length])


def train_wordpiece(*, lowercase: bool) -> Tokenizer:
    """As BERT's, with [CLS] and [SEP]."""
    special = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trained = BertWordPieceTokenizer(lowercase=lowercase)
    trained.train_from_iterator(corpus(), vocab_size=700, special_tokens=special, show_progress=False)
    return Tokenizer.from_str(BertWordPieceTokenizer(trained.get_vocab(), lowercase=lowercase)._tokenizer.to_str())


def sentencepiece_metadata(original: SentencePieceProcessor, kind: str, **changes: Any) -> dict[str, Any]:
    """kind: "llama" or "t5". changes: below tokenizer.ggml; None removes."""
    ids = range(original.vocab_size())
    types = [_type(original, i) for i in ids]
    texts = [original.id_to_piece(i) for i in ids]
    values = {
        "model": kind,
        "pre": "default",
        "tokens": [text.replace("▁", " ") if t == 4 else text for text, t in zip(texts, types, strict=True)],
        "scores": [original.get_score(i) for i in ids],
        "token_type": types,
        "bos_token_id": original.bos_id(),
        "eos_token_id": original.eos_id(),
        "unknown_token_id": original.unk_id(),
        "padding_token_id": original.pad_id(),
        **changes,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in values.items() if value not in (None, -1)}


def _type(original: SentencePieceProcessor, index: int) -> int:
    kinds = {2: original.is_unknown, 3: original.is_control, 6: original.is_byte, 5: original.is_unused}
    found = next((kind for kind, asks in kinds.items() if asks(index)), 1)
    return 4 if found == 1 and original.get_score(index) == 0 and index > 0 and _is_declared(original, index) else found


def _is_declared(original: SentencePieceProcessor, index: int) -> bool:
    return original.id_to_piece(index) in GEMMA["user_defined_symbols"]


def wordpiece_metadata(original: Tokenizer, **changes: Any) -> dict[str, Any]:
    tokens = [original.id_to_token(i) for i in range(original.get_vocab_size())]
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    types = [3 if token in special else 1 for token in tokens]
    values = {
        "model": "bert",
        "pre": "default",
        "tokens": [_phantom(token) if t == 1 else token for token, t in zip(tokens, types, strict=True)],
        "token_type": types,
        "bos_token_id": tokens.index("[CLS]"),
        "seperator_token_id": tokens.index("[SEP]"),
        "unknown_token_id": tokens.index("[UNK]"),
        "padding_token_id": tokens.index("[PAD]"),
        "mask_token_id": tokens.index("[MASK]"),
        **changes,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in values.items() if value is not None}


def _phantom(token: str) -> str:
    return token[2:] if token.startswith("##") else "▁" + token
