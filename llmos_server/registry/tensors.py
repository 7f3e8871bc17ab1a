"""The tensors of a checkpoint as the heads of its files tell them; nothing of the weights is read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from llmos_server.errors import PullError
from llmos_server.gguf.names import usual_names
from llmos_server.gguf.reader import GGUFFile


class StoredTensor(NamedTuple):
    name: str
    """The field's where it is known, else the file's."""
    shape: tuple[int, ...]
    """Row-major, as it is stored: logical, packing changes nothing."""
    type_name: str
    """As the file names it: "Q4_1", "BF16"."""
    num_bytes: int
    """In the file; 0 for a GGUF type that isn't known."""

    @property
    def num_elements(self) -> int:
        return math.prod(self.shape)


def read_tensors(weights: Sequence[Path]) -> Iterator[StoredTensor]:
    """In the order of the files.

    weights: one .gguf, or safetensors shards. Raises PullError for a damaged head, UnsupportedModel for a .gguf that
    is none.
    """
    for path in weights:
        yield from _gguf_tensors(path) if path.suffix == ".gguf" else _safetensors(path)


def _gguf_tensors(path: Path) -> Iterator[StoredTensor]:
    with GGUFFile.open(path) as gguf:
        names = usual_names(gguf.metadata, gguf.tensors)
        for info in gguf.tensors.values():
            yield StoredTensor(names[info.name], info.shape, info.type_name, info.num_bytes)


def _safetensors(path: Path) -> list[StoredTensor]:
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        entries = ((str(key), entry) for key, entry in header.items() if key != "__metadata__")
        return [_stored_tensor(name, entry["shape"], entry["dtype"], *entry["data_offsets"]) for name, entry in entries]
    except OSError as error:
        raise PullError(f"{path}: can't be read ({error.strerror}). Fetch the model again.") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise PullError(f"{path}: damaged safetensors header. Fetch it again.") from None


def _stored_tensor(name: str, shape: list[int], type_name: str, start: int, end: int) -> StoredTensor:
    stored = StoredTensor(name, tuple(map(int, shape)), str(type_name), int(end) - int(start))
    if min(stored.num_bytes, *stored.shape, 0) < 0:
        raise ValueError("a size below zero")
    return stored
