"""The compiled kernels, as src/library.cpp exports them, and the structs of src/abi.h."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_bool, c_char_p, c_double, c_float, c_int32, c_int64, c_void_p
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from llmos_server.errors import KernelsUnavailable


class Matrix(Structure):
    """abi.h: Matrix."""

    _fields_: ClassVar = [
        ("kind", c_int32),
        ("num_out", c_int32),
        ("num_in", c_int32),
        ("group", c_int32),
        ("values", c_void_p),
        ("scales", c_void_p),
        ("minima", c_void_p),
        ("bias", c_void_p),
    ]


class Stack(Structure):
    """abi.h: Stack."""

    _fields_: ClassVar = [
        ("parts", POINTER(Matrix)),
        ("num_parts", c_int32),
        ("num_in", c_int32),
        ("num_out", c_int32),
        ("bits", c_int32),
    ]


class Layer(Structure):
    """abi.h: Layer."""

    _fields_: ClassVar = [
        ("qkv", Stack),
        ("out", Stack),
        ("gate_up", Stack),
        ("down", Stack),
        ("attention_norm", c_void_p),
        ("mlp_norm", c_void_p),
        ("q_norm", c_void_p),
        ("k_norm", c_void_p),
        ("keys", c_void_p),
        ("values", c_void_p),
        ("window", c_int64),
    ]


class Decoder(Structure):
    """abi.h: Decoder."""

    _fields_: ClassVar = [
        ("hidden", c_int32),
        ("inner", c_int32),
        ("num_heads", c_int32),
        ("num_kv_heads", c_int32),
        ("head_dim", c_int32),
        ("page_size", c_int32),
        ("cache_kind", c_int32),
        ("eps", c_float),
        ("scale", c_float),
        ("cos", c_void_p),
        ("sin", c_void_p),
        ("layers", POINTER(Layer)),
    ]


MAX_PARTS = 3
"""Of a stack that adapters change: q, k and v."""


class LowRank(Structure):
    """abi.h: LowRank."""

    _fields_: ClassVar = [
        ("down", c_void_p),
        ("scales", c_void_p),
        ("up", c_void_p),
        ("rank", c_int32),
        ("ranks", c_int32 * MAX_PARTS),
    ]


class LowRankLayer(Structure):
    """abi.h: LowRankLayer."""

    _fields_: ClassVar = [("qkv", LowRank), ("out", LowRank), ("gate_up", LowRank), ("down", LowRank)]


class Batch(Structure):
    """abi.h: Batch."""

    _fields_: ClassVar = [
        ("num_rows", c_int32),
        ("num_spans", c_int32),
        ("spans", c_void_p),
        ("pages", c_void_p),
        ("adapters", c_void_p),
    ]


class Repacking(Structure):
    """abi.h: Repacking."""

    _fields_: ClassVar = [
        ("type", c_int32),
        ("num_out", c_int32),
        ("num_in", c_int32),
        ("first", c_int32),
        ("last", c_int32),
        ("rows", c_void_p),
        ("order", c_void_p),
        ("values", c_void_p),
        ("scales", c_void_p),
        ("minima", c_void_p),
    ]


class Library:
    """One loaded library with one of its backends and a team of threads. Not for two callers at once."""

    def __init__(self, path: Path, num_threads: int, backend: str = "") -> None:
        """backend: a name, or "" for the best that this processor runs.

        Raises KernelsUnavailable where it can't run here, or the library can't be loaded.
        """
        self._functions = _load(path)
        self._backend = self._functions.llmos_backend(backend.encode())
        if not self._backend:
            raise KernelsUnavailable(f"This processor can't run the {backend} kernels.")
        self._team = _team(path, num_threads)
        self.backend: str = self._functions.llmos_backend_name(self._backend).decode()

    def forward(self, decoder: Decoder, first: int, last: int, batch: Batch, x: int) -> None:
        """x: address of float32 [rows, hidden]."""
        self._functions.llmos_forward(self._backend, self._team, decoder, first, last, batch, x)

    def project(self, stack: Stack, norm: int | None, eps: float, x: int, num_rows: int, out: int) -> None:
        """x, norm, out: addresses of float32 [rows, num_in], [num_in] and [rows, num_out]."""
        self._functions.llmos_project(self._backend, self._team, stack, norm, eps, x, num_rows, out)

    def gather(self, matrix: Matrix, ids: int, num_ids: int, out: int) -> None:
        """ids, out: addresses of int64 [n] and float32 [n, num_in]."""
        self._functions.llmos_gather(self._backend, matrix, ids, num_ids, out)

    def draw(self, scores: int, size: int, temperature: float, noise: float) -> int:
        """A token of softmax(scores / temperature). scores: address of float32 [size]; noise: in [0, 1)."""
        token: int = self._functions.llmos_draw(self._backend, scores, size, temperature, noise)
        return token

    def repack(self, repacking: Repacking) -> None:
        """Some rows of a GGUF's matrix into tiles."""
        if not self._functions.llmos_repack(self._backend, self._team, repacking):
            raise ValueError(f"blocks of type {repacking.type} have no code")


@lru_cache(maxsize=8)
def _load(path: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelsUnavailable(f"{path} can't be loaded: {error}.") from None
    pointers = {Decoder: POINTER(Decoder), Batch: POINTER(Batch), Stack: POINTER(Stack), Matrix: POINTER(Matrix)}
    signatures = {
        "llmos_backend": ([c_char_p], c_void_p),
        "llmos_backend_name": ([c_void_p], c_char_p),
        "llmos_team": ([c_int32], c_void_p),
        "llmos_forward": ([c_void_p, c_void_p, pointers[Decoder], c_int32, c_int32, pointers[Batch], c_void_p], None),
        "llmos_project": ([c_void_p, c_void_p, pointers[Stack], c_void_p, c_float, c_void_p, c_int32, c_void_p], None),
        "llmos_draw": ([c_void_p, c_void_p, c_int64, c_float, c_double], c_int64),
        "llmos_gather": ([c_void_p, pointers[Matrix], c_void_p, c_int32, c_void_p], None),
        "llmos_repack": ([c_void_p, c_void_p, POINTER(Repacking)], c_bool),
    }
    for name, (arguments, result) in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


@lru_cache(maxsize=8)
def _team(path: Path, num_threads: int) -> int:
    """A team's threads live as long as the process: one of each size is enough."""
    team: int = _load(path).llmos_team(num_threads)
    return team
