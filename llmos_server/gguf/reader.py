"""GGUF files, opened and mapped: metadata, what tensors there are, and their packed bytes. No torch."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from llmos_server.errors import PullError, UnsupportedModel
from llmos_server.gguf.header import HeaderReader, TensorInfo
from llmos_server.gguf.types import READABLE_TYPES

AHEAD, DONE = (getattr(mmap, f"MADV_{advice}", None) for advice in ("WILLNEED", "DONTNEED"))
"""None where the system has no such advice."""

__all__ = ["GGUFFile", "TensorInfo"]


class GGUFFile:
    """One .gguf, memory-mapped. Use as a context manager.

    metadata: key -> str, int, float, bool or a list of one of these.
    tensors: name -> TensorInfo, in file order. Types that can't be computed with are listed too; `raw` refuses them.
    """

    def __init__(self, data: mmap.mmap, label: str) -> None:
        self._data: mmap.mmap | None = data
        self._label = label
        self.metadata: dict[str, Any]
        self.tensors: dict[str, TensorInfo]
        self.metadata, self.tensors = HeaderReader(data, label).read()

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Map the file and read its head.

        Raises PullError when it can't be read, is cut short or damaged, UnsupportedModel when it is something else.
        """
        label = Path(path).name
        try:
            with Path(path).open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise PullError(f"{label}: the file is empty. Fetch it again (llmos rm, then llmos pull).") from None
        except OSError as error:
            raise PullError(f"{path}: can't be read ({error.strerror}).") from None
        return cls(data, label)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Views that `raw` gave out stay valid: the mapping ends with the last of them."""
        self._data = None

    def raw(self, name: str) -> npt.NDArray[np.uint8]:
        """The tensor's packed bytes: a read-only view of the mapping, uint8 [num_bytes].

        Raises UnsupportedModel when the file has no such tensor or its type can't be computed with.
        """
        info = self.tensors.get(name)
        if info is None:
            raise UnsupportedModel(f"{self._label}: has no tensor {name!r}.")
        if info.type_name not in READABLE_TYPES:
            raise UnsupportedModel(
                f"{self._label}: tensor {name!r} is of type {info.type_name}; known are {', '.join(READABLE_TYPES)}. "
                "Take a file of the same model in one of these (Q8_0 is common)."
            )
        if self._data is None:
            raise ValueError(f"{self._label}: already closed")
        return np.frombuffer(self._data, dtype=np.uint8, count=info.num_bytes, offset=info.offset)

    def in_parts(self, name: str, num_bytes: int) -> Iterator[slice]:
        """Parts of a tensor's bytes, one after the other. While one is used, what follows in the file is read from the
        disk; what was used goes out of this process's memory. Views stay valid."""
        info = self.tensors[name]
        for start in range(0, info.num_bytes, num_bytes):
            stop = min(start + num_bytes, info.num_bytes)
            self._advise(AHEAD, info.offset + stop, num_bytes)
            yield slice(start, stop)
            self._advise(DONE, info.offset + start, stop - start)

    def _advise(self, advice: int | None, start: int, num_bytes: int) -> None:
        """What lies beyond the end of the file is left out."""
        aligned = start - start % mmap.PAGESIZE
        if self._data is not None and advice is not None and aligned < len(self._data):
            self._data.madvise(advice, aligned, min(start + num_bytes, len(self._data)) - aligned)
