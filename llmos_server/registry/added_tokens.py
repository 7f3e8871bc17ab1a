"""Tokens that a checkpoint's JSON files add to its vocabulary, read from untrusted values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, processors

from llmos_server.errors import UnsupportedModel

MAX_ID_DIGITS = 9


def read_token(value: Any, where: str, *, special: bool | None = None, normalized: bool | None = None) -> AddedToken:
    """A token is written as its text, or as an object with the text as `content` and switches.

    special, normalized: None takes the object's. Raises UnsupportedModel, which says where the value stands.
    """
    entry = value if isinstance(value, Mapping) else {"content": value}
    content = entry.get("content")
    if not isinstance(content, str) or not content:
        raise UnsupportedModel(f"{where} is {value!r}; a token is a text, or an object with the text as content.")
    is_special = entry.get("special") is True if special is None else special
    return AddedToken(
        content,
        special=is_special,
        single_word=entry.get("single_word") is True,
        lstrip=entry.get("lstrip") is True,
        rstrip=entry.get("rstrip") is True,
        normalized=entry.get("normalized", not is_special) is True if normalized is None else normalized,
    )


def read_added_tokens(
    tokenizer_config: Mapping[str, Any], *, normalized: bool | None = None
) -> list[tuple[int, AddedToken]]:
    """(id, token) of added_tokens_decoder, by id. Raises UnsupportedModel for what is no such table."""
    where = "tokenizer_config.json: added_tokens_decoder"
    table = tokenizer_config.get("added_tokens_decoder")
    if table is None:
        return []
    if not isinstance(table, Mapping):
        raise UnsupportedModel(f"{where} is {table!r:.100}; an object from ids to tokens is needed.")
    wrong = [key for key in table if not (key.isascii() and key.isdigit() and len(key) <= MAX_ID_DIGITS)]
    if wrong:
        raise UnsupportedModel(f"{where} has the key {wrong[0]!r:.100}, which is no token id.")
    tokens = [(int(key), read_token(entry, f"{where}[{key}]", normalized=normalized)) for key, entry in table.items()]
    return sorted(tokens, key=lambda pair: pair[0])


def add_numbered(tokenizer: Tokenizer, tokens: Sequence[tuple[int, AddedToken]], where: Path) -> None:
    """Give each token its id: one that it has already, or the next free one.

    Raises UnsupportedModel for another id, which the library couldn't give.
    """
    tokenizer.add_tokens([token for _, token in tokens])
    for index, token in tokens:
        if tokenizer.token_to_id(token.content) != index:
            raise UnsupportedModel(f"{where}: {token.content!r} is added with the id {index}, which is not free.")


def id_of(tokenizer: Tokenizer, text: str) -> int:
    """Raises UnsupportedModel when the tokenizer has no such token."""
    found: int | None = tokenizer.token_to_id(text)
    if found is None:
        raise UnsupportedModel(f"The tokenizer has no token {text!r}, which stands around every text.")
    return found


def put_around(tokenizer: Tokenizer, begin: str | None, end: str | None) -> None:
    """What a text begins and ends with. Raises UnsupportedModel for a token that isn't there or can't stand there."""
    tokens = [token for token in (begin, end) if token is not None]
    ids = {token: tokenizer.token_to_id(token) for token in tokens}
    known = [(token, index) for token, index in ids.items() if index is not None and not token.startswith("$")]
    try:
        if len(known) < len(ids):
            raise ValueError("not in the vocabulary, or a placeholder")
        parts = [part for part in (begin, "$A", end) if part is not None]
        if known:
            tokenizer.post_processor = processors.TemplateProcessing(single=parts, special_tokens=known)
    except ValueError as error:
        told = ", ".join(map(repr, tokens))
        raise UnsupportedModel(f"The tokenizer can't put {told} around a text ({error}).") from None
