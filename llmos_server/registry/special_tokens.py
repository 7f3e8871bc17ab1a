"""Which special tokens a checkpoint without tokenizer.json has, and which tokens it adds.

Since 2023 tokenizer_config.json says both (added_tokens_decoder); before, special_tokens_map.json and added_tokens.json
did, and are read only where it doesn't.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from llmos_server.errors import UnsupportedModel
from llmos_server.registry.added_tokens import read_added_tokens, read_token
from llmos_server.registry.json_files import optional_json

MAP, ADDED = "special_tokens_map.json", "added_tokens.json"
SPECIAL_TOKEN_FILES = (MAP, ADDED)
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    named: dict[str, AddedToken]
    """bos_token … -> token, in the order of NAMED."""
    extra: list[AddedToken]
    """Special, too, but without a role."""
    numbered: list[tuple[int, AddedToken]]
    """(id, token) that the checkpoint adds, by id."""

    def others(self) -> list[AddedToken]:
        """Those without a number, which get the next free ids if the vocabulary doesn't have them."""
        known = {token.content for _, token in self.numbered}
        return [token for token in (*self.named.values(), *self.extra) if token.content not in known]


def read_special_tokens(
    folder: Path, tokenizer_config: Mapping[str, Any], defaults: Mapping[str, str]
) -> SpecialTokens:
    """defaults: named tokens of the tokenizer's class. Raises UnsupportedModel or PullError for broken files."""
    is_new = "added_tokens_decoder" in tokenizer_config
    old = {} if is_new else optional_json(folder / MAP)
    values = {**defaults, **{key: tokenizer_config[key] for key in NAMED if key in tokenizer_config}}
    values |= {key: old[key] for key in NAMED if key in old}
    named = {key: _special(values[key], key) for key in NAMED if values.get(key) is not None}
    extra = [
        *(_special(value, key) for key, value in tokenizer_config.items() if _is_own(key, value)),
        *(_special(value, "extra_special_tokens") for value in _extra(tokenizer_config, old)),
    ]
    special = {token.content for token in (*named.values(), *extra)}
    numbered = read_added_tokens(tokenizer_config) if is_new else _read_added(folder / ADDED, special)
    roles = {token.content for token in named.values()}
    for _, token in numbered:
        token.special = token.special or token.content in roles
    return SpecialTokens(named=named, extra=extra, numbered=numbered)


def _special(value: Any, key: str) -> AddedToken:
    return read_token(value, f"The tokenizer's {key}", special=True)


def _is_own(key: str, value: Any) -> bool:
    """A model's own kind of special token, such as image_token."""
    return key.endswith("_token") and key not in NAMED and isinstance(value, str) and value != ""


def _extra(tokenizer_config: Mapping[str, Any], old: Mapping[str, Any]) -> list[Any]:
    """As Transformers merges them: the old file's count where the new one has none, or under the new name."""
    new_key, old_key = "extra_special_tokens", "additional_special_tokens"
    found = _listed(tokenizer_config.get(new_key) or tokenizer_config.get(old_key))
    found += [value for value in _listed(old.get(new_key)) if value not in found]
    return found or _listed(old.get(old_key))


def _listed(values: Any) -> list[Any]:
    """A list, or an object of names and tokens."""
    if isinstance(values, Mapping):
        return list(values.values())
    if not isinstance(values or [], list):
        raise UnsupportedModel(f"The tokenizer's extra_special_tokens is {values!r:.100}; a list is needed.")
    return list(values or [])


def _read_added(path: Path, special: set[str]) -> list[tuple[int, AddedToken]]:
    """added_tokens.json: text -> id."""
    tokens = []
    for text, index in optional_json(path).items():
        if type(index) is not int or not text:
            raise UnsupportedModel(f"{path}: gives {text!r:.100} the id {index!r:.100}.")
        tokens.append((index, AddedToken(text, special=text in special, normalized=text not in special)))
    return sorted(tokens, key=lambda pair: pair[0])
