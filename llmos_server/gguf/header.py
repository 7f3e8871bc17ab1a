"""The head of a GGUF file: key-value pairs and tensor descriptions, read from untrusted bytes.

Layout (little-endian): "GGUF", u32 version, u64 tensor count, u64 pair count, the pairs, the tensor descriptions,
padding to the alignment, the tensor data. Every count and length is checked against the bytes that are left before
anything of that size is made.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmos_server.errors import PullError, UnsupportedModel
from llmos_server.gguf.types import TENSOR_TYPES

MAX_ARRAY_ITEMS = 1 << 22
"""Array items in all of the metadata: several times what the largest known vocabulary needs."""
MAX_TEXT_BYTES = 1 << 24
MAX_DIMS = 4
DEFAULT_ALIGNMENT = 32

# Smallest possible entries, for judging counts: key length, 1-byte key, type, 1-byte value; a 1-dimensional tensor.
MIN_PAIR_BYTES = 8 + 1 + 4 + 1
MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8

U32, U64 = struct.Struct("<I"), struct.Struct("<Q")
SCALARS: dict[int, str] = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
TEXT, ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies."""

    name: str
    shape: tuple[int, ...]
    """Row-major, as torch has it: the reverse of the file's order."""
    type_name: str
    """"Q4_1", "F32" ...; "type 99" for a number that is not known."""
    offset: int
    """Bytes from the start of the file."""
    num_bytes: int
    """0 for a type that is not known."""


class HeaderReader:
    """A cursor over the file that can't leave it. Raises PullError (damaged) or UnsupportedModel (not ours)."""

    def __init__(self, data: mmap.mmap, label: str) -> None:
        self._data = data
        self._size = len(data)
        self._label = label
        self._at = 0
        self._items_left = MAX_ARRAY_ITEMS

    def read(self) -> tuple[dict[str, Any], dict[str, TensorInfo]]:
        """The whole head."""
        num_tensors, num_pairs = self._counts()
        metadata: dict[str, Any] = {}
        for _ in range(num_pairs):
            key = self._text("a key")
            if key in metadata:
                raise self.damaged(f"key {key!r} appears twice")
            metadata[key] = self._value(self._u32(), key)
        described = [self._tensor() for _ in range(num_tensors)]
        start = -(-self._at // (alignment := self._alignment(metadata))) * alignment
        tensors: dict[str, TensorInfo] = {}
        for name, dims, type_id, offset in described:
            if name in tensors:
                raise self.damaged(f"tensor {name!r} appears twice")
            if offset % alignment:
                raise self.damaged(f"tensor {name!r} starts at {offset}, which is no multiple of {alignment}")
            tensors[name] = self._place(name, dims, type_id, start + offset)
        return metadata, tensors

    def damaged(self, what: str) -> PullError:
        """The error for a file that can't be what its writer meant."""
        return PullError(f"{self._label}: damaged GGUF file: {what}. Fetch it again (llmos rm, then llmos pull).")

    def _counts(self) -> tuple[int, int]:
        if self._data[:4] != b"GGUF":
            raise UnsupportedModel(f"{self._label}: not a GGUF file (it doesn't begin with 'GGUF').")
        self._at = 4
        version = self._u32()
        if version not in (2, 3):
            hint = " (big-endian?)" if version & 0xFFFF == 0 else ""
            raise UnsupportedModel(f"{self._label}: GGUF version {version}{hint} can't be read; 2 and 3 can.")
        num_tensors, num_pairs = self._u64(), self._u64()
        for count, least, what in ((num_pairs, MIN_PAIR_BYTES, "pairs"), (num_tensors, MIN_TENSOR_BYTES, "tensors")):
            if count > (self._size - self._at) // least:
                raise self.damaged(f"it claims {count} {what}, more than {self._size} bytes can hold")
        return num_tensors, num_pairs

    def _take(self, count: int, what: str) -> int:
        """Move over `count` bytes; returns where they start."""
        start = self._at
        if count > self._size - start:
            raise self.damaged(f"{what} needs {count} bytes at {start}, but the file ends at {self._size}")
        self._at = start + count
        return start

    def _u32(self) -> int:
        return int(U32.unpack_from(self._data, self._take(4, "a number"))[0])

    def _u64(self) -> int:
        return int(U64.unpack_from(self._data, self._take(8, "a number"))[0])

    def _text(self, what: str) -> str:
        length = self._u64()
        if length > MAX_TEXT_BYTES:
            raise self.damaged(f"{what} claims to be {length} bytes long")
        start = self._take(length, what)
        try:
            return self._data[start : start + length].decode("utf-8")
        except UnicodeDecodeError:
            raise self.damaged(f"{what} is not UTF-8") from None

    def _value(self, type_id: int, key: str) -> Any:
        if type_id == TEXT:
            return self._text(key)
        if type_id == ARRAY:
            return self._array(key)
        code = SCALARS.get(type_id)
        if code is None:
            raise self.damaged(f"{key!r} has value type {type_id}, which doesn't exist")
        return struct.unpack_from(code, self._data, self._take(struct.calcsize(code), key))[0]

    def _array(self, key: str) -> list[Any]:
        type_id, count = self._u32(), self._u64()
        if count > self._items_left:
            raise self.damaged(f"array {key!r} claims {count} items")
        self._items_left -= count
        if type_id == TEXT:
            return self._texts(count, key)
        code = SCALARS.get(type_id)
        if code is None:
            raise self.damaged(f"array {key!r} has item type {type_id}, which can't be in an array")
        dtype = np.dtype(code)
        start = self._take(count * dtype.itemsize, key)
        return list(np.frombuffer(self._data, dtype=dtype, count=count, offset=start).tolist()) if count else []

    def _texts(self, count: int, key: str) -> list[str]:
        """The hot loop: a vocabulary is 50,000 to 260,000 of these, so lengths are checked inline."""
        data, size, at, read = self._data, self._size, self._at, U64.unpack_from
        if count * 8 > size - at:
            raise self.damaged(f"array {key!r} claims {count} items")
        texts: list[str] = []
        try:
            for _ in range(count):
                end = at + 8 + read(data, at)[0]
                if end > size:
                    raise self.damaged(f"text {len(texts)} of {key!r} ends at {end}, but the file ends at {size}")
                texts.append(data[at + 8 : end].decode("utf-8"))
                at = end
        except struct.error:
            raise self.damaged(f"array {key!r} ends after {len(texts)} of {count} texts") from None
        except UnicodeDecodeError:
            raise self.damaged(f"text {len(texts)} of {key!r} is not UTF-8") from None
        self._at = at
        return texts

    def _alignment(self, metadata: dict[str, Any]) -> int:
        alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise self.damaged(f"general.alignment is {str(alignment)[:40]}, not a power of two")
        return alignment

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._text("a tensor's name")
        num_dims = self._u32()
        if not 1 <= num_dims <= MAX_DIMS:
            raise self.damaged(f"tensor {name!r} has {num_dims} dimensions")
        dims = tuple(self._u64() for _ in range(num_dims))
        return name, dims, self._u32(), self._u64()

    def _place(self, name: str, dims: tuple[int, ...], type_id: int, offset: int) -> TensorInfo:
        shape = dims[::-1]
        layout = TENSOR_TYPES.get(type_id)
        if layout is None:
            return TensorInfo(name, shape, f"type {type_id}", offset, 0)
        if 0 in dims or dims[0] % layout.block_size:
            raise self.damaged(f"tensor {name!r} of shape {shape} is no whole number of {layout.name} blocks")
        num_bytes = math.prod(dims) // layout.block_size * layout.block_bytes
        if offset + num_bytes > self._size:
            raise self.damaged(f"tensor {name!r} ends at byte {offset + num_bytes}, but the file ends at {self._size}")
        return TensorInfo(name, shape, layout.name, offset, num_bytes)
