"""Which token has which id, read from a model's tokenizer.json; torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from llmos_server.errors import UnsupportedModel


def read_vocabulary(folder: Path) -> dict[str, int]:
    """Token -> id, added ones included. Raises UnsupportedModel where the file can't be read."""
    path = folder / "tokenizer.json"
    try:
        tokenizer: dict[str, Any] = msgspec.json.decode(path.read_bytes())
        vocabulary = tokenizer["model"]["vocab"]
        if isinstance(vocabulary, list):  # Unigram: pairs of piece and score, in the order of their ids.
            vocabulary = {piece: place for place, (piece, _) in enumerate(vocabulary)}
        added = {entry["content"]: entry["id"] for entry in tokenizer.get("added_tokens") or ()}
        return {**vocabulary, **added}
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise UnsupportedModel(f"{path}: no vocabulary can be read from it ({type(error).__name__}).") from error
