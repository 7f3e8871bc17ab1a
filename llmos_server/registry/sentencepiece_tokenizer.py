"""A checkpoint's tokenizer.model, SentencePiece's own file, as a `tokenizers.Tokenizer`.

The file is one protocol-buffer message. Its few fields that matter are read here, from untrusted bytes, because the
`sentencepiece` library shows neither the normaliser's settings nor its table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from llmos_server.errors import PullError, UnsupportedModel
from llmos_server.registry.added_tokens import add_numbered, put_around, read_added_tokens, read_token
from llmos_server.registry.json_files import read_flag
from llmos_server.registry.sentencepiece_models import (
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Pieces,
    Spelling,
    build_bpe,
    build_unigram,
    spell_user_defined,
)

SENTENCEPIECE = "tokenizer.model"
ADDS_BOS = ("LlamaTokenizer", "GemmaTokenizer", "CodeLlamaTokenizer")
"""Classes in Transformers that begin a text with BOS unless tokenizer_config.json says otherwise."""
MAX_MODEL_BYTES = 64 * 2**20
MAX_VARINT_BYTES = 10
REMEDY = "Make one: transformers.AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
UNIGRAM, BPE = 1, 2
"""Values of TrainerSpec.model_type."""

Value = int | bytes


@dataclass
class _Model:
    """What is read of the file; the defaults are the format's."""

    texts: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    algorithm: int = UNIGRAM
    space_is_suffix: bool = False
    adds_space: bool = True
    merges_spaces: bool = True
    escapes_spaces: bool = True
    charsmap: bytes = b""


def convert_sentencepiece(path: Path, tokenizer_config: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of a checkpoint: what `path` describes, the tokens that the config adds, BOS and EOS as it says.

    Raises PullError for a damaged file, UnsupportedModel for what can't be rebuilt exactly, naming it.
    """
    if tokenizer_config.get("legacy") is False:
        raise UnsupportedModel(
            f"{path}: can't be rebuilt as tokenizer.json: tokenizer_config.json says legacy: false. {REMEDY}"
        )
    tokenizer = read_sentencepiece(path)
    add_numbered(tokenizer, read_added_tokens(tokenizer_config, normalized=False), path)
    name = str(tokenizer_config.get("tokenizer_class", "")).removesuffix("Fast")
    adds = {"bos_token": read_flag(tokenizer_config, "add_bos_token", name in ADDS_BOS)}
    adds["eos_token"] = read_flag(tokenizer_config, "add_eos_token", False)
    bos, eos = (
        read_token(tokenizer_config[key], f"tokenizer_config.json: {key}").content
        if is_added and tokenizer_config.get(key) is not None
        else None
        for key, is_added in adds.items()
    )
    put_around(tokenizer, bos, eos)
    return tokenizer


def read_sentencepiece(path: Path) -> Tokenizer:
    """Build the tokenizer that `path` describes: control pieces special, user-defined ones always matched.

    Raises PullError for a damaged file, UnsupportedModel for a kind that can't be rebuilt exactly.
    """
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise PullError(f"{path}: too large for a SentencePiece model.")
    try:
        model = _read(path.read_bytes())
    except (ValueError, struct.error):
        raise PullError(f"{path}: not a whole SentencePiece model. Fetch it again.") from None
    _refuse_unsupported(path, model)
    texts = spell_user_defined(model.texts, model.types)
    unknown = model.types.index(UNKNOWN) if UNKNOWN in model.types else None
    pieces = Pieces(texts=texts, scores=model.scores, types=model.types, unknown_id=unknown)
    spelling = Spelling(adds_space=model.adds_space, merges_spaces=model.merges_spaces, charsmap=model.charsmap)
    tokenizer = build_bpe(pieces, spelling) if model.algorithm == BPE else build_unigram(pieces, spelling)
    kinds = list(zip(texts, model.types, strict=True))
    tokenizer.add_special_tokens(
        [AddedToken(text, normalized=False, special=True) for text, kind in kinds if kind in (UNKNOWN, CONTROL)]
    )
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text, kind in kinds if kind == USER_DEFINED])
    return tokenizer


def _refuse_unsupported(path: Path, model: _Model) -> None:
    reason = ""
    if model.algorithm not in (UNIGRAM, BPE):
        reason = f"its model_type is {model.algorithm}, neither BPE nor Unigram"
    elif model.space_is_suffix or not model.escapes_spaces:
        reason = "it writes spaces in another way than SentencePiece's default"
    elif UNUSED in model.types:
        reason = "some of its pieces are switched off"
    elif len(set(model.texts)) != len(model.texts) or not model.texts:
        reason = "its pieces are none, or not all different"
    if reason:
        raise UnsupportedModel(f"{path}: can't be rebuilt as tokenizer.json: {reason}. {REMEDY}")


def _read(data: bytes) -> _Model:
    model = _Model()
    for number, value in _fields(data):
        if number == 1:
            _read_piece(model, _bytes(value))
        elif number == 2:
            trainer = dict(_fields(_bytes(value)))
            model.algorithm = int(trainer.get(3, UNIGRAM))
            model.space_is_suffix = bool(trainer.get(24, False))
        elif number == 3:
            normalizer = dict(_fields(_bytes(value)))
            model.charsmap = _bytes(normalizer.get(2, b""))
            model.adds_space = bool(normalizer.get(3, True))
            model.merges_spaces = bool(normalizer.get(4, True))
            model.escapes_spaces = bool(normalizer.get(5, True))
    return model


def _read_piece(model: _Model, data: bytes) -> None:
    fields = dict(_fields(data))
    model.texts.append(_bytes(fields.get(1, b"")).decode("utf-8"))
    model.scores.append(float(struct.unpack("<f", _bytes(fields.get(2, bytes(4))))[0]))
    model.types.append(int(fields.get(3, NORMAL)))


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where bytes should be")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """(field number, value) of a message, in order. Raises ValueError for what is no message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == VARINT:
            number, at = _varint(data, at)
            yield key >> 3, number
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(kind)
        if kind == BYTES:
            length, at = _varint(data, at)
        if length is None or length > len(data) - at:
            raise ValueError("a field that can't be read")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    number = 0
    for shift in range(MAX_VARINT_BYTES):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        number |= (byte & 127) << (7 * shift)
        if byte < 128:
            return number, at
    raise ValueError("a number without an end")
