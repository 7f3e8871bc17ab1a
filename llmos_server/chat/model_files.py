"""The files of a model folder that say how it is talked to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from llmos_server.errors import UnsupportedModel

NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Special tokens that templates may print by name."""

TEMPLATE, CONFIG = "chat_template.jinja", "tokenizer_config.json"
"""Where a template may be, the first one first."""


@dataclass(frozen=True)
class ModelFiles:
    tokenizer: Tokenizer
    template: str | None
    named_tokens: dict[str, str]
    """bos_token, eos_token … -> literal."""
    eos_ids: frozenset[int]
    """Ends of a turn: generation_config's (else config's), and the tokenizer's eos_token."""
    bos_id: int | None


def load_model_files(folder: Path) -> ModelFiles:
    """Raises UnsupportedModel that names the file which is missing or broken."""
    tokenizer = _load_tokenizer(folder / "tokenizer.json")
    tokenizer_config = _read_json(folder / CONFIG)
    config = _read_json(folder / "config.json")
    generation_file = folder / "generation_config.json"
    generation = _read_json(generation_file) if generation_file.is_file() else {}
    named = {name: literal for name in NAMED_TOKENS if (literal := _literal(tokenizer_config.get(name)))}
    ends = _ids(generation.get("eos_token_id")) or _ids(_lookup(config, "eos_token_id"))
    if "bos_token" in tokenizer_config:  # null there means none, whatever config.json says
        bos_id = tokenizer.token_to_id(named.get("bos_token", ""))
    else:
        bos_id = next(iter(_ids(_lookup(config, "bos_token_id"))), None)
    return ModelFiles(
        tokenizer=tokenizer,
        template=_read_template(folder, tokenizer_config),
        named_tokens=named,
        eos_ids=frozenset([*ends, *_ids(tokenizer.token_to_id(named.get("eos_token", "")))]),
        bos_id=bos_id,
    )


def read_chat_template(folder: Path) -> str | None:
    """The one that load_model_files would find; None for a broken folder."""
    found = find_chat_template(folder)
    return None if found is None else found[1]


def find_chat_template(folder: Path) -> tuple[str, str] | None:
    """The same, behind the name of its file."""
    try:
        template = _read_template(folder, _read_json(folder / CONFIG))
    except (UnsupportedModel, OSError):
        return None
    return None if template is None else (TEMPLATE if (folder / TEMPLATE).is_file() else CONFIG, template)


def _load_tokenizer(path: Path) -> Tokenizer:
    _require(path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise UnsupportedModel(f"{path} can't be read: {error}. Pull the model again.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _read_json(path: Path) -> dict[str, Any]:
    _require(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnsupportedModel(f"{path} can't be read: {error}. Pull the model again.") from error
    if not isinstance(value, dict):
        raise UnsupportedModel(f"{path} holds no JSON object. Pull the model again.")
    return value


def _require(path: Path) -> None:
    if not path.is_file():
        raise UnsupportedModel(f"{path.name} is missing in {path.parent}; import the model again.")


def _read_template(folder: Path, tokenizer_config: Mapping[str, Any]) -> str | None:
    path = folder / TEMPLATE
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = tokenizer_config.get("chat_template")
    if isinstance(template, list):  # several by name
        template = {entry["name"]: entry["template"] for entry in template}.get("default")
    return template if isinstance(template, str) else None


def _literal(token: Any) -> str | None:
    """A token is written as its text, or as an object that holds it."""
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) and token else None


def _lookup(config: Mapping[str, Any], key: str) -> Any:
    text_config = config.get("text_config")
    return config.get(key, text_config.get(key) if isinstance(text_config, Mapping) else None)


def _ids(value: Any) -> list[int]:
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, int)]
