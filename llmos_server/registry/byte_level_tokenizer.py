"""vocab.json and merges.txt, byte-level BPE as GPT-2 brought it, as a `tokenizers.Tokenizer`.

The two files hold no rules: how texts are split and what is put around them is the class that the checkpoint names.
Tests hold that ids equal those of Transformers' class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from llmos_server.errors import PullError, UnsupportedModel
from llmos_server.registry.added_tokens import add_numbered, id_of, put_around
from llmos_server.registry.json_files import MAX_JSON_BYTES, read_flag, read_json
from llmos_server.registry.special_tokens import SPECIAL_TOKEN_FILES, read_special_tokens
from llmos_server.registry.split_patterns import QWEN2

VOCABULARY, MERGES = "vocab.json", "merges.txt"
BYTE_LEVEL_FILES = (VOCABULARY, MERGES, *SPECIAL_TOKEN_FILES)

END = "<|endoftext|>"


def _gpt2_rules(tokenizer: Tokenizer, adds_space: bool) -> None:
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=adds_space)


def _qwen2_rules(tokenizer: Tokenizer, adds_space: bool) -> None:
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN2), behavior="isolated")
    whole = pre_tokenizers.ByteLevel(add_prefix_space=adds_space, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, whole])


@dataclass(frozen=True)
class _Class:
    """One of Transformers' classes."""

    named: Mapping[str, str] = field(
        default_factory=lambda: dict.fromkeys(("bos_token", "eos_token", "unk_token"), END)
    )
    """Special tokens that it has unless the checkpoint says otherwise."""
    set_rules: Callable[[Tokenizer, bool], None] = _gpt2_rules
    always_wraps: bool = False
    """A text stands between cls_token and sep_token."""


GPT2 = _Class()
QWEN2_CLASS = _Class(dict.fromkeys(("eos_token", "unk_token", "pad_token"), END), _qwen2_rules)
ROBERTA = _Class(
    {
        "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>",
        "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>",
    },
    always_wraps=True,
)  # fmt: skip
CLASSES = {
    "GPT2Tokenizer": GPT2,
    "CodeGenTokenizer": GPT2,
    "Qwen2Tokenizer": QWEN2_CLASS,
    "RobertaTokenizer": ROBERTA,
    "BartTokenizer": ROBERTA,
}
CLASS_OF_TYPE = {
    **dict.fromkeys(("gpt2", "gpt_bigcode", "opt", "starcoder2"), "GPT2Tokenizer"),
    **dict.fromkeys(("roberta", "roberta-prelayernorm"), "RobertaTokenizer"),
}
"""model_type -> class, where the checkpoint names none."""


def has_byte_level_files(folder: Path) -> bool:
    return (folder / VOCABULARY).is_file() and (folder / MERGES).is_file()


def convert_byte_level(
    folder: Path, config: Mapping[str, Any], tokenizer_config: Mapping[str, Any]
) -> tuple[Tokenizer, dict[str, str]]:
    """The tokenizer of a checkpoint, and its named special tokens (bos_token … -> text).

    config: of config.json. Raises PullError for damaged files, UnsupportedModel for what can't be known, naming it.
    """
    kind = _find_class(folder, config, tokenizer_config)
    special = read_special_tokens(folder, tokenizer_config, kind.named)
    tokenizer = Tokenizer(_read_model(folder))
    adds_space = read_flag(tokenizer_config, "add_prefix_space", False)
    kind.set_rules(tokenizer, adds_space)
    tokenizer.decoder = decoders.ByteLevel()
    add_numbered(tokenizer, special.numbered, folder / VOCABULARY)
    tokenizer.add_tokens(special.others())
    named = {key: token.content for key, token in special.named.items()}
    if kind.always_wraps:
        _wrap(tokenizer, named, adds_space)
    else:
        begin, end = (
            named.get(key) if read_flag(tokenizer_config, f"add_{key}", False) else None
            for key in ("bos_token", "eos_token")
        )
        put_around(tokenizer, begin, end)
    return tokenizer, named


def _find_class(folder: Path, config: Mapping[str, Any], tokenizer_config: Mapping[str, Any]) -> _Class:
    named = tokenizer_config.get("tokenizer_class") or config.get("tokenizer_class")
    named = named or CLASS_OF_TYPE.get(str(config.get("model_type")))
    found = CLASSES.get(str(named).removesuffix("Fast"))
    if found is None:
        said = f"tokenizer_class is {named!r:.100}" if named else "no tokenizer_class is named"
        raise UnsupportedModel(
            f"{folder}: has {VOCABULARY} and {MERGES} without tokenizer.json, and {said}; how such files split texts "
            f"is known of {', '.join(CLASSES)}. Make a tokenizer.json: "
            "transformers.AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    return found


def _read_model(folder: Path) -> models.BPE:
    path = folder / VOCABULARY
    vocab = read_json(path, "Fetch the model again.")
    ids = set(vocab.values()) if all(type(index) is int and 0 <= index < 2**31 for index in vocab.values()) else set()
    if not vocab or len(ids) != len(vocab):
        raise PullError(f"{path}: not a table of tokens and their ids, each another one. Fetch the model again.")
    try:
        if (folder / MERGES).stat().st_size > MAX_JSON_BYTES:
            raise PullError(f"{folder / MERGES}: too large for a list of merges.")
        _, merges = models.BPE.read_file(str(path), str(folder / MERGES))
        return models.BPE(vocab, merges)
    except PullError:
        raise
    except Exception as error:  # the library raises nothing narrower
        raise PullError(f"{folder / MERGES}: doesn't fit {VOCABULARY} ({error}). Fetch the model again.") from None


def _wrap(tokenizer: Tokenizer, named: Mapping[str, str], adds_space: bool) -> None:
    if "sep_token" not in named or "cls_token" not in named:
        raise UnsupportedModel(
            "The tokenizer has no sep_token or no cls_token, which its class puts around every text."
        )
    separator, begin = ((named[key], id_of(tokenizer, named[key])) for key in ("sep_token", "cls_token"))
    tokenizer.post_processor = processors.RobertaProcessing(separator, begin, add_prefix_space=adds_space)
