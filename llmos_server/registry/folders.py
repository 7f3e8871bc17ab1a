"""Checkpoints in the Hugging Face layout: a folder with safetensors, config.json and tokenizer.json."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from tokenizers import Tokenizer

from llmos_server.errors import PullError
from llmos_server.registry.byte_level_tokenizer import (
    MERGES,
    VOCABULARY,
    convert_byte_level,
    has_byte_level_files,
)
from llmos_server.registry.decoder_config import check_config, context_length
from llmos_server.registry.importing import write_json, write_tokenizer_json
from llmos_server.registry.json_files import optional_json, read_json
from llmos_server.registry.remote_code import NO_CODE, CodeRule, copy_code
from llmos_server.registry.sentencepiece_tokenizer import REMEDY, SENTENCEPIECE, convert_sentencepiece

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
INDEX = "model.safetensors.index.json"
MAX_HEADER_BYTES = 100 * 2**20


def find_shards(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, in the order of their names; each is checked to be whole.

    Raises PullError when there is none, one is missing, cut short or outside the folder.
    """
    index = folder / INDEX
    if index.is_file():
        names = sorted(shard_names(index))
    elif (folder / "model.safetensors").is_file():
        names = ["model.safetensors"]
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    if not names:
        raise _no_weights(folder)
    shards = [folder / name for name in names]
    for shard in shards:
        _check_safetensors(shard)
    return shards


def import_folder(source: Path, target: Path, rule: CodeRule = NO_CODE) -> int:
    """Write the config, tokenizer and template of `source` into `target`. Returns the context length in tokens.

    rule: whether code of the model's own may be run; it is then copied, too.
    Raises PullError for missing or broken files, UnsupportedModel for a model that can't be served, naming why.
    """
    config = read_json(source / "config.json", "It is no model in the Hugging Face layout.")
    check_config(config, rule)
    write_json(target / "config.json", config)
    if rule.lets_run(config):
        copy_code(source, target, config)
    tokenizer_config = optional_json(source / "tokenizer_config.json")
    write_tokenizer(source, target, config, tokenizer_config)
    template = _find_template(source, tokenizer_config)
    tokenizer_config.pop("chat_template", None)
    write_json(target / "tokenizer_config.json", tokenizer_config)
    if template is not None:
        (target / "chat_template.jinja").write_text(template, encoding="utf-8", newline="")
    write_json(target / "generation_config.json", _generation_config(source, config))
    return context_length(config)


def write_tokenizer(source: Path, target: Path, config: dict[str, Any], tokenizer_config: dict[str, Any]) -> None:
    """The folder's tokenizer.json, or one that is made of its other files; what those say of named special tokens goes
    into `tokenizer_config`.
    """
    if (source / "tokenizer.json").is_file():
        check_tokenizer(source / "tokenizer.json")
        shutil.copyfile(source / "tokenizer.json", target / "tokenizer.json")
    elif (source / SENTENCEPIECE).is_file():
        tokenizer = convert_sentencepiece(source / SENTENCEPIECE, tokenizer_config)
        write_tokenizer_json(target, tokenizer)
    elif has_byte_level_files(source):
        tokenizer, named = convert_byte_level(source, config, tokenizer_config)
        write_tokenizer_json(target, tokenizer)
        tokenizer_config.update(named)
    else:
        raise PullError(
            f"{source}: has no tokenizer.json, no {SENTENCEPIECE}, and not {VOCABULARY} with {MERGES}; other "
            f"tokenizers are not read. {REMEDY}"
        )


def check_tokenizer(path: Path) -> None:
    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise PullError(f"{path}: can't be read as a tokenizer ({error}). Mend it, or fetch it again.") from None


def _no_weights(folder: Path) -> PullError:
    if any(path.suffix in PICKLES for path in folder.iterdir()):
        return PullError(
            f"{folder}: holds pickled weights only, which can run code when they are loaded, so they are refused. "
            "Convert them: transformers' save_pretrained() writes safetensors."
        )
    return PullError(f"{folder}: has no .safetensors file.")


def shard_names(index: Path) -> set[str]:
    """What an index file names. Raises PullError for a name that isn't one of a file beside it."""
    weight_map = read_json(index, "Fetch the model again.").get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise PullError(f"{index}: has no weight_map. Fetch the model again.")
    names = set(weight_map.values())
    for name in names:
        if PurePosixPath(name).name != name or os.sep in name or not name.endswith(".safetensors"):
            raise PullError(f"{index}: names {name!r}, which is no .safetensors file beside it.")
    return names


def _check_safetensors(path: Path) -> None:
    """The header says where the last tensor ends; the file must end there too."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
                raise PullError(f"{path}: not a whole safetensors file. Fetch it again.")
            header = json.loads(file.read(length))
        end = max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
    except OSError as error:
        raise PullError(f"{path}: can't be read ({error.strerror}). Fetch the model again.") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise PullError(f"{path}: damaged safetensors header. Fetch it again.") from None
    if end != size - 8 - length:
        raise PullError(f"{path}: is {size} bytes long, its header speaks of {8 + length + end}. Fetch it again.")


def _find_template(source: Path, tokenizer_config: dict[str, Any]) -> str | None:
    """chat_template.jinja wins over tokenizer_config.json, whose list form is searched for "default"."""
    path = source / "chat_template.jinja"
    if path.is_file():
        try:
            return path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            raise PullError(f"{path}: not UTF-8 text.") from None
    template = tokenizer_config.get("chat_template")
    if isinstance(template, list):
        named = {e.get("name"): e.get("template") for e in template if isinstance(e, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _generation_config(source: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint's own, with the special ids of config.json where it is silent; eos_token_id always a list."""
    values = optional_json(source / "generation_config.json")
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if values.get(key) is None and config.get(key) is not None:
            values[key] = config[key]
    eos = values.get("eos_token_id")
    values["eos_token_id"] = eos if isinstance(eos, list) else [] if eos is None else [eos]
    return values
