"""Tokenizers from a corpus: byte-level BPE by the `tokenizers` library, unigram by sentencepiece. Torch-free.

Both give the same folder for the same corpus, whatever the machine.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from llmos_server.errors import InvalidRequest
from llmos_server.registry.importing import write_json
from llmos_server.registry.sentencepiece_tokenizer import SENTENCEPIECE, convert_sentencepiece
from llmos_server.training.tokenizer_keys import TokenizerKeys

MAX_CHARS = 2000
"""Of what sentencepiece gets at once; of longer sentences it would learn nothing."""
CHATML = ("<|im_start|>", "<|im_end|>")
CHATML_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
MASK = "<mask>"


def write_tokenizer(texts: Iterable[str], keys: TokenizerKeys, folder: Path) -> int:
    """Train, and write what the registry and Transformers read. Returns how many tokens there are.

    Raises InvalidRequest for a corpus without text, and where sentencepiece finds too few pieces in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": keys.model_max_length,
        **_named_tokens(keys),
    }
    if keys.tokenizer_type == "bpe":
        tokenizer = _train_bpe(texts, keys)
    else:
        (folder / SENTENCEPIECE).write_bytes(_train_unigram(texts, keys))
        tokenizer = convert_sentencepiece(
            folder / SENTENCEPIECE, config | {"add_bos_token": True, "add_eos_token": True}
        )
    if set(CHATML) <= set(keys.special_tokens):
        (folder / "chat_template.jinja").write_text(CHATML_TEMPLATE, encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", config)
    return int(tokenizer.get_vocab_size())


def _named_tokens(keys: TokenizerKeys) -> dict[str, str]:
    tokens = keys.special_tokens
    if keys.tokenizer_type == "bpe":
        return {"eos_token": tokens[0], "pad_token": tokens[0]}
    named = dict(zip(("unk_token", "bos_token", "eos_token", "pad_token"), tokens, strict=False))
    named |= {"cls_token": tokens[1], "sep_token": tokens[2]}
    return named | ({"mask_token": MASK} if MASK in tokens else {})


def _train_bpe(texts: Iterable[str], keys: TokenizerKeys) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = [pre_tokenizers.Digits(individual_digits=True)] if keys.digits_apart else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*digits, by_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=keys.vocab_size,
        min_frequency=keys.min_frequency,
        special_tokens=keys.special_tokens,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_not_empty(texts), trainer)
    return tokenizer


def _train_unigram(texts: Iterable[str], keys: TokenizerKeys) -> bytes:
    """The content of a tokenizer.model."""
    unknown, begin, end, padding, *others = keys.special_tokens
    options: dict[str, Any] = {
        **dict(zip(("unk_id", "bos_id", "eos_id", "pad_id"), range(4), strict=True)),
        **dict(zip(("unk_piece", "bos_piece", "eos_piece", "pad_piece"), (unknown, begin, end, padding), strict=True)),
        "model_type": "unigram",
        "vocab_size": keys.vocab_size,
        "hard_vocab_limit": False,
        "character_coverage": keys.character_coverage,
        "byte_fallback": True,
        "split_digits": keys.digits_apart,
        "max_sentence_length": 4 * MAX_CHARS,
        "control_symbols": others,
        "num_threads": 1,
        "minloglevel": 2,
    }
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_cut(_not_empty(texts)), model_writer=written, **options
        )
    except (RuntimeError, OSError) as error:
        raise InvalidRequest(
            f"sentencepiece makes no tokenizer of this corpus: {' '.join(str(error).split())}"
        ) from None
    return written.getvalue()


def _not_empty(texts: Iterable[str]) -> Iterator[str]:
    """Raises InvalidRequest where there is none."""
    is_empty = True
    for text in texts:
        is_empty = False
        yield text
    if is_empty:
        raise InvalidRequest("There is no text to make a tokenizer of.", param="training_file")


def _cut(texts: Iterable[str]) -> Iterator[str]:
    """Lines, and long ones at spaces."""
    for text in texts:
        for line in text.splitlines():
            while len(line) > MAX_CHARS:
                at = line.rfind(" ", 1, MAX_CHARS) + 1 or MAX_CHARS
                yield line[:at]
                line = line[at:]
            if line.strip():
                yield line
