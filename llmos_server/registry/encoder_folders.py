"""Encoders in the Hugging Face layout: which they are, and how their token vectors become one embedding.

What sentence-transformers keeps in modules.json and the files that it names is read here and written down, resolved,
in encoder.json; its conventions: https://sbert.net/docs/package_reference/sentence_transformer/models.html
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from llmos_server.contracts import ENCODER_SPEC, EncoderSpec, PoolingKind
from llmos_server.errors import PullError, UnsupportedModel
from llmos_server.registry.byte_level_tokenizer import convert_byte_level, has_byte_level_files
from llmos_server.registry.folders import check_tokenizer
from llmos_server.registry.importing import write_json, write_tokenizer_json
from llmos_server.registry.json_files import optional_json, read_json
from llmos_server.registry.wordpiece import build_wordpiece

MODULES = "modules.json"
DEFAULT_POOLING = "1_Pooling/config.json"
ENCODER_FILES = (MODULES, "sentence_bert_config.json", "config_sentence_transformers.json", "vocab.txt")
"""What is read of an encoder beside a decoder's files, and the pooling configuration that MODULES names."""

OFFSET_TYPES = frozenset(
    {"roberta", "xlm-roberta", "camembert", "mpnet", "data2vec-text", "roberta-prelayernorm", "xlm-roberta-xl"}
)
"""Families that count positions from pad_token_id + 1, so that so many rows of their table are never used."""
ENCODER_TYPES = frozenset(
    {
        "albert", "bert", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "eurobert", "gte", "megatron-bert",
        "modernbert", "nomic_bert", "rembert", "roformer", *OFFSET_TYPES,
    }
)  # fmt: skip
"""Values of model_type: bidirectional, and padding changes no result (tests/models/test_encoder.py tries each)."""
POOLING_KINDS: dict[str, PoolingKind] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}
MAX_SANE_LENGTH = 10**6
"""Tokenizers without a limit of their own state one of about 1e30."""


def is_encoder(folder: Path) -> bool:
    """Whether a checkpoint is for embeddings: it says how to pool, or its architecture can't generate."""
    config = read_json(folder / "config.json", "It is no model in the Hugging Face layout.")
    return (folder / MODULES).is_file() or _is_known(config.get("model_type"))


def _is_known(model_type: object) -> bool:
    return isinstance(model_type, str) and model_type in ENCODER_TYPES


def import_encoder(source: Path, target: Path) -> EncoderSpec:
    """Write the config, tokenizer and encoder.json of `source` into `target`.

    Raises PullError for missing or broken files, UnsupportedModel for a model that can't be served, naming why.
    """
    spec = read_spec(source)
    import_text_side(source, target)
    write_json(target / ENCODER_SPEC, msgspec.to_builtins(spec))
    return spec


def import_text_side(source: Path, target: Path) -> None:
    """Config and tokenizer of an encoder, with or without a head. Raises as import_encoder does."""
    config = read_json(source / "config.json", "Fetch the model again.")
    write_json(target / "config.json", config)
    tokenizer_config = optional_json(source / "tokenizer_config.json")
    tokenizer_config.pop("chat_template", None)
    if (source / "tokenizer.json").is_file():
        check_tokenizer(source / "tokenizer.json")
        shutil.copyfile(source / "tokenizer.json", target / "tokenizer.json")
    elif has_byte_level_files(source):
        tokenizer, named = convert_byte_level(source, config, tokenizer_config)
        write_tokenizer_json(target, tokenizer)
        tokenizer_config.update(named)
    else:
        write_tokenizer_json(target, build_wordpiece(source / "vocab.txt", tokenizer_config))
    write_json(target / "tokenizer_config.json", tokenizer_config)


def read_spec(folder: Path) -> EncoderSpec:
    """What the small files say; needs neither weights nor tokenizer. Raises as import_encoder does."""
    config = read_json(folder / "config.json", "It is no model in the Hugging Face layout.")
    check_encoder_config(config)
    pooling, normalize = _read_modules(folder)
    sentence_transformers = optional_json(folder / "sentence_bert_config.json")
    dimensions = config.get("matryoshka_dimensions") or []
    if not isinstance(dimensions, list) or not all(type(size) is int and size > 0 for size in dimensions):
        raise UnsupportedModel(f"config.json: matryoshka_dimensions is {dimensions!r}; a list of lengths is needed.")
    return EncoderSpec(
        pooling=pooling,
        normalize=normalize,
        max_input_tokens=max_input_tokens(folder, config, sentence_transformers),
        is_matryoshka=bool(dimensions or config.get("is_matryoshka")),
        matryoshka_dimensions=sorted(set(dimensions)),
    )


def pooling_file(folder: Path) -> str:
    """The pooling configuration, from the folder: where MODULES says, else the usual place."""
    for module in _modules(folder):
        if _kind(module) == "Pooling":
            return f"{_module_folder(module)}/config.json"
    return DEFAULT_POOLING


def check_encoder_config(config: dict[str, Any]) -> None:
    model_type = config.get("model_type")
    if not _is_known(model_type):
        raise UnsupportedModel(
            f"config.json: model_type is {model_type!r}, which can't be served as an encoder; known are "
            f"{', '.join(sorted(ENCODER_TYPES))}."
        )
    if config.get("is_decoder"):
        raise UnsupportedModel("config.json: is_decoder is true; only bidirectional encoders are served as such.")
    if config.get("quantization_config"):
        raise UnsupportedModel("config.json: quantised safetensors can't be read; take the full version.")


def _read_modules(folder: Path) -> tuple[PoolingKind, bool]:
    """(pooling, whether embeddings are normalised). Without modules.json: the mean, normalised."""
    if not (folder / MODULES).is_file():
        return "mean", True
    pooling: PoolingKind | None = None
    normalize = False
    for module in _modules(folder):
        kind = _kind(module)
        if kind == "Pooling":
            path = folder / _module_folder(module) / "config.json"
            pooling = _read_pooling(read_json(path, "Fetch the model again."))
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise UnsupportedModel(
                f"{MODULES}: the module {kind!r} is not supported; Transformer, Pooling and Normalize are."
            )
    if pooling is None:
        raise UnsupportedModel(f"{MODULES}: names no Pooling module, so it doesn't say what an embedding is.")
    return pooling, normalize


def _read_pooling(config: dict[str, Any]) -> PoolingKind:
    """The one mode that is switched on; also as newer versions write it: "pooling_mode": "mean"."""
    named = config.get("pooling_mode")
    modes = [f"pooling_mode_{named}"] if isinstance(named, str) else []
    modes += [key for key, is_on in config.items() if key.startswith("pooling_mode_") and is_on is True]
    for suffix in ("_tokens", "_token"):
        modes = [mode + suffix if mode + suffix in POOLING_KINDS else mode for mode in modes]
    unknown = [mode for mode in modes if mode not in POOLING_KINDS]
    if unknown or len(set(modes)) != 1:
        told = ", ".join(mode.removeprefix("pooling_mode_") for mode in unknown or modes) or "none"
        raise UnsupportedModel(f"The pooling {told} is not supported; one of mean, cls and max is.")
    return POOLING_KINDS[modes[0]]


def _modules(folder: Path) -> list[dict[str, Any]]:
    path = folder / MODULES
    if not path.is_file():
        return []
    try:
        modules = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise PullError(f"{path}: not valid JSON. Fetch the model again.") from None
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise PullError(f"{path}: not a list of modules. Fetch the model again.")
    return modules


def _kind(module: dict[str, Any]) -> str:
    """ "sentence_transformers.models.Pooling" -> "Pooling"; a class of the repository's own keeps its whole name."""
    name = str(module.get("type"))
    return name.rpartition(".")[2] if name.startswith("sentence_transformers.") else name


def _module_folder(module: dict[str, Any]) -> str:
    name = str(module.get("path"))
    if PurePosixPath(name).name != name or name in (".", ".."):
        raise PullError(f"{MODULES}: the path {name!r} is no folder beside it.")
    return name


def max_input_tokens(folder: Path, config: dict[str, Any], sentence_transformers: dict[str, Any]) -> int:
    """sentence-transformers' limit, else the tokenizer's, but never beyond the table of positions."""
    length = config.get("max_position_embeddings", config.get("n_positions"))
    if type(length) is not int or length < 1:
        raise UnsupportedModel(f"config.json: max_position_embeddings is {length!r}; a positive number is needed.")
    if config["model_type"] in OFFSET_TYPES:
        padding = config.get("pad_token_id", 1) or 0
        if type(padding) is not int or not 0 <= padding < length - 1:
            raise UnsupportedModel(f"config.json: pad_token_id is {padding!r:.100}; positions are counted from it.")
        length -= padding + 1
    for limit in (
        sentence_transformers.get("max_seq_length"),
        optional_json(folder / "tokenizer_config.json").get("model_max_length"),
    ):
        if type(limit) is int and 0 < limit < MAX_SANE_LENGTH:
            return min(length, limit)
    return length
