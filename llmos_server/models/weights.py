"""Checkpoint files as named float32 tensors in Hugging Face names: safetensors (one or sharded) and GGUF.

Tensors are read one at a time and copied into place, so loading holds the weights once, and one tensor more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open

from llmos_server.errors import UnsupportedModel
from llmos_server.gguf.blocks import Bytes
from llmos_server.gguf.dequantize import dequantize
from llmos_server.gguf.grouped import GROUPED
from llmos_server.gguf.names import LLAMA_SHAPED, from_gguf
from llmos_server.gguf.reader import GGUFFile
from llmos_server.models.config import ModelConfig
from llmos_server.models.names import EMBEDDING, HEAD, ROPE_DIVISORS, expected_shapes

SAFETENSORS_DTYPES = ("F32", "F16", "BF16")
IGNORED = ("rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias")
SHORT_FLOATS = {"F16": torch.float16, "BF16": torch.bfloat16}
"""GGUF's names; kept as they are, not blown up."""
PART_ROWS = 16
PART_BYTES = 1 << 23
"""Of a packed matrix, how much of the file is in memory at a time."""
MAX_NAMED = 5
"""Names that one error message lists."""


class StoredMatrix(NamedTuple):
    """A matrix of integers in groups, as its file has it."""

    type_name: str
    """GGUF's."""
    blocks: Bytes
    """[rows, bytes of a row]: a view of the file, in its order."""
    order: npt.NDArray[np.int32] | None
    """Where in the file each row is; None: in its place."""


class TensorSource(Protocol):
    """The tensors of one checkpoint. Names are Hugging Face's."""

    shapes: dict[str, tuple[int, ...]]

    def read(self, name: str) -> torch.Tensor:
        """On the CPU, float32 or a type that converts to it exactly; may be a view of the file."""
        ...

    def is_packed(self, name: str) -> bool:
        """Whether the file holds integers in groups, not floats."""
        ...

    def stored(self, name: str) -> StoredMatrix:
        """A packed matrix."""
        ...

    def in_parts(self, name: str) -> Iterator[slice]:
        """Its rows, to be used in this order, a multiple of PART_ROWS at a time: what was used goes out of memory."""
        ...


class SafetensorsSource:
    """One or more .safetensors files that together hold a checkpoint."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._files: dict[str, Path] = {}
        for path in paths:
            self._add(path)

    def _add(self, path: Path) -> None:
        try:
            file = safe_open(path, framework="pt")
        except (OSError, SafetensorError) as error:
            raise UnsupportedModel(f"{path}: can't be read ({error}). Pull the model again.") from None
        for name in file.keys():  # noqa: SIM118 (not a dict)
            if name in self._files:
                raise UnsupportedModel(f"{path.name}: tensor {name!r} is in another shard too.")
            part = file.get_slice(name)
            if part.get_dtype() not in SAFETENSORS_DTYPES and not is_ignored(name):
                known = ", ".join(SAFETENSORS_DTYPES)
                raise UnsupportedModel(
                    f"{path.name}: tensor {name!r} is of type {part.get_dtype()}; known are {known}."
                )
            self._files[name] = path
            self.shapes[name] = tuple(part.get_shape())

    def read(self, name: str) -> torch.Tensor:
        """The file is opened for each tensor: what was read of it goes out of memory with the tensor."""
        with safe_open(self._files[name], framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(name)
        return tensor

    def is_packed(self, name: str) -> bool:
        return False

    def stored(self, name: str) -> StoredMatrix:
        raise AssertionError("safetensors hold no packed tensors")

    def in_parts(self, name: str) -> Iterator[slice]:
        raise AssertionError("safetensors hold no packed tensors")


class GGUFSource:
    """One .gguf; blocks are dequantised as they are read."""

    def __init__(self, path: Path, config: ModelConfig) -> None:
        self._file = GGUFFile.open(path)
        architecture = self._file.metadata.get("general.architecture")
        if architecture not in LLAMA_SHAPED:
            raise UnsupportedModel(
                f"{path.name}: general.architecture is {architecture!r}; known are {', '.join(LLAMA_SHAPED)}."
            )
        self._heads = {"q_proj": config.num_heads, "k_proj": config.num_kv_heads} if architecture == "llama" else {}
        self._names = {from_gguf(name): name for name in self._file.tensors}
        self.shapes = {name: tuple(self._file.tensors[stored].shape) for name, stored in self._names.items()}

    def read(self, name: str) -> torch.Tensor:
        stored = self._names[name]
        info = self._file.tensors[stored]
        raw = self._file.raw(stored)
        if info.type_name in SHORT_FLOATS:
            tensor = torch.from_numpy(raw.copy()).view(SHORT_FLOATS[info.type_name]).view(info.shape)
        else:
            tensor = torch.from_numpy(dequantize(raw, info.type_name, info.shape))
        return self._in_halves(name, tensor)

    def is_packed(self, name: str) -> bool:
        return self._file.tensors[self._names[name]].type_name in GROUPED

    def stored(self, name: str) -> StoredMatrix:
        info = self._file.tensors[self._names[name]]
        blocks = self._file.raw(info.name).reshape(info.shape[0], -1)
        if self._heads_of(name) is None:
            return StoredMatrix(info.type_name, blocks, None)
        order = self._in_halves(name, torch.arange(info.shape[0], dtype=torch.int32))
        return StoredMatrix(info.type_name, blocks, np.ascontiguousarray(order.numpy()))

    def in_parts(self, name: str) -> Iterator[slice]:
        info = self._file.tensors[self._names[name]]
        row_bytes = info.num_bytes // info.shape[0]
        step = max(1, PART_BYTES // (row_bytes * PART_ROWS)) * PART_ROWS * row_bytes
        for part in self._file.in_parts(info.name, step):
            yield slice(part.start // row_bytes, part.stop // row_bytes)

    def _in_halves(self, name: str, rows: torch.Tensor) -> torch.Tensor:
        num_heads = self._heads_of(name)
        return rows if num_heads is None else unpermute(rows, num_heads)

    def _heads_of(self, name: str) -> int | None:
        """Of a matrix whose rows GGUF has in another order."""
        return next((num_heads for part, num_heads in self._heads.items() if f".{part}." in name), None)


def unpermute(rows: torch.Tensor, num_heads: int) -> torch.Tensor:
    """From GGUF's interleaved rotation pairs back to halves. rows: [num_heads * head_dim, ...], llama's q or k."""
    pairs = rows.view(num_heads, rows.shape[0] // num_heads // 2, 2, *rows.shape[1:])
    return pairs.transpose(1, 2).reshape(rows.shape)


def open_weights(paths: Sequence[Path], config: ModelConfig) -> TensorSource:
    """Open the files and check names and shapes against the config.

    Raises UnsupportedModel naming what is missing, unexpected, misshapen or of a type that can't be read.
    """
    kinds = {path.suffix for path in paths}
    source: TensorSource
    if kinds == {".gguf"} and len(paths) == 1:
        source = GGUFSource(paths[0], config)
    elif kinds == {".safetensors"}:
        source = SafetensorsSource(paths)
    else:
        named = ", ".join(path.name for path in paths) or "no file"
        raise UnsupportedModel(f"Weights come as one .gguf or as .safetensors files, not as {named}.")
    check_tensors(source, config)
    return source


def is_ignored(name: str) -> bool:
    """Old checkpoints carry RoPE frequencies and causal masks, which follow from the config."""
    return name.endswith(IGNORED)


def check_tensors(source: TensorSource, config: ModelConfig) -> None:
    """Raises UnsupportedModel unless the source holds what the config needs, and nothing else."""
    needed = expected_shapes(config)
    optional = {ROPE_DIVISORS: (config.head_dim // 2,)} | ({HEAD: needed[EMBEDDING]} if config.is_tied else {})
    known = needed | optional
    missing = [name for name in needed if name not in source.shapes]
    unexpected = [name for name in source.shapes if name not in known and not is_ignored(name)]
    misshapen = [
        f"{name} is {list(source.shapes[name])}, not {list(shape)}"
        for name, shape in known.items()
        if name in source.shapes and source.shapes[name] != shape
    ]
    for label, names in (("lack", missing), ("hold unexpected", unexpected), ("don't fit config.json:", misshapen)):
        if names:
            raise UnsupportedModel(f"The weights {label} {some(names)}. Does config.json belong to these files?")
    if config.is_tied and HEAD in source.shapes and not torch.equal(source.read(HEAD), source.read(EMBEDDING)):
        raise UnsupportedModel(f"config.json ties the head to the embedding, but the weights hold another {HEAD}.")


def some(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    rest = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")


class WeightLoader:
    """Copies tensors of a source to a device, as float32."""

    def __init__(self, source: TensorSource, device: torch.device) -> None:
        self._source = source
        self._device = device

    def has(self, name: str) -> bool:
        return name in self._source.shapes

    def load(self, *names: str) -> torch.Tensor:
        """The tensors, joined along their first dimension."""
        shapes = [self._source.shapes[name] for name in names]
        joined = torch.empty(sum(s[0] for s in shapes), *shapes[0][1:], dtype=torch.float32, device=self._device)
        row = 0
        for name, shape in zip(names, shapes, strict=True):
            joined[row : row + shape[0]].copy_(self._source.read(name))
            row += shape[0]
        return joined

    def load_biases(self, names: Iterable[str]) -> torch.Tensor | None:
        """The biases joined, or None when the checkpoint has none of them."""
        present = [name for name in names if self.has(name)]
        return self.load(*present) if present else None
