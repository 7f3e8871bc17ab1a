"""What serving reads beside the weights, written from a GGUF file: config, tokenizer, template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from llmos_server.errors import UnsupportedModel
from llmos_server.gguf.reader import GGUFFile
from llmos_server.gguf.types import READABLE_TYPES
from llmos_server.registry.gguf_config import build_config, build_generation_config
from llmos_server.registry.gguf_tokenizer import build_tokenizer
from llmos_server.registry.gguf_vocabulary import adds_bos, token_id, token_texts

CONFIG_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
"""All that an import of a decoder may write, in the order in which the model's digest covers them."""


SPECIAL_TOKEN_KEYS = {
    "other": {"bos": "bos_token", "eos": "eos_token", "padding": "pad_token", "unknown": "unk_token"},
    "bert": {
        "bos": "cls_token",
        "separator": "sep_token",
        "padding": "pad_token",
        "unknown": "unk_token",
        "mask": "mask_token",
    },
}
"""Role of a special token -> its key in tokenizer_config.json."""


def import_gguf(weights: Path, folder: Path) -> None:
    """Write CONFIG_FILES into `folder` from the metadata of `weights`.

    Raises PullError for a damaged file, UnsupportedModel for one that can't be served, naming why.
    """
    with GGUFFile.open(weights) as gguf:
        _check_types(gguf)
        write_json(folder / "config.json", build_config(gguf))
        write_json(folder / "generation_config.json", build_generation_config(gguf.metadata))
        write_tokenizer_json(folder, build_tokenizer(gguf.metadata))
        write_json(folder / "tokenizer_config.json", _tokenizer_config(gguf.metadata))
        template = gguf.metadata.get("tokenizer.chat_template")
        if isinstance(template, str) and template.strip():
            (folder / "chat_template.jinja").write_text(template, encoding="utf-8", newline="")


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """One spelling for one content: the model's digest covers these bytes."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def write_tokenizer_json(folder: Path, tokenizer: Tokenizer) -> None:
    """Not by the tokenizer's own save(), which tells of a full disk by a bare Exception."""
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=False), encoding="utf-8", newline="")


def _check_types(gguf: GGUFFile) -> None:
    for info in gguf.tensors.values():
        if info.type_name not in READABLE_TYPES:
            raise UnsupportedModel(
                f"Tensor {info.name!r} is of type {info.type_name}; known are {', '.join(READABLE_TYPES)}. "
                "Take a file of the same model in one of these (Q8_0 is common)."
            )


def _tokenizer_config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    tokens = token_texts(metadata)
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": adds_bos(metadata),
        "clean_up_tokenization_spaces": False,
    }
    for role, key in SPECIAL_TOKEN_KEYS["bert" if metadata.get("tokenizer.ggml.model") == "bert" else "other"].items():
        found = token_id(metadata, role)
        if found is not None:
            config[key] = tokens[found]
    return config
