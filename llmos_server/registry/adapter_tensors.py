"""The tensors of an adapter's safetensors file: their names, shapes and whether they are numbers. No torch."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from llmos_server.errors import PullError, UnsupportedModel
from llmos_server.registry.disk import sha256_file
from llmos_server.registry.json_files import MAX_JSON_BYTES
from llmos_server.registry.progress import QuietProgress

NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
EXPONENTS: dict[str, tuple[type[np.unsignedinteger[Any]], int]] = {
    "F32": (np.uint32, 0x7F800000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}
"""Type -> the exponent's bits, all of which are set in infinities and in what is no number."""
LENGTH_BYTES = 8
"""Before a safetensors file's header, which is JSON."""


class AdapterFile(NamedTuple):
    modules: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    """Module of the base -> shapes of its A, [rank, in], and B, [out, rank]."""
    metadata: dict[str, str]
    sha256: str
    """Of the whole file."""


def read_adapter_file(path: Path) -> AdapterFile:
    """Raises PullError for a damaged file, UnsupportedModel for tensors that aren't LoRA's, or are no numbers."""
    metadata, tensors, content = _open(path)
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, entry in tensors.items():
        parsed = NAME.fullmatch(name)
        if parsed is None:
            raise UnsupportedModel(f"{path.name}: {name!r:.200} is no tensor of LoRA on a linear layer.")
        start, end = entry["data_offsets"]
        _check_numbers(name, entry["dtype"], content[start:end], path.name)
        found.setdefault(parsed["module"], {})[parsed["side"]] = tuple(entry["shape"])
    modules = {module: (sides.get("A", ()), sides.get("B", ())) for module, sides in sorted(found.items())}
    if not modules or any(len(shape) != 2 or 0 in shape for pair in modules.values() for shape in pair):
        raise UnsupportedModel(f"{path.name}: each module needs a lora_A and a lora_B, matrices both.")
    return AdapterFile(modules, metadata, sha256_file(path, QuietProgress(), path.name))


def _open(path: Path) -> tuple[dict[str, str], dict[str, Any], NDArray[np.uint8]]:
    """Metadata, the header's entries and the bytes that they point into. The library checks that they do."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(LENGTH_BYTES), "little")
            if size > MAX_JSON_BYTES:
                raise PullError(f"{path}: damaged safetensors header. Save the adapter again.")
            header = file.read(size)
        with safe_open(path, framework="numpy"):
            entries = json.loads(header)
    except (SafetensorError, ValueError, OSError) as error:
        raise PullError(f"{path}: can't be read ({error}). Save the adapter again.") from None
    content = np.memmap(path, np.uint8, "r", offset=LENGTH_BYTES + size)
    return entries.pop("__metadata__", None) or {}, entries, content


def _check_numbers(name: str, dtype: str, content: NDArray[np.uint8], file: str) -> None:
    if dtype not in EXPONENTS:
        raise UnsupportedModel(f"{file}: {name} is of type {dtype}; an adapter's tensors are {', '.join(EXPONENTS)}.")
    kind, exponent = EXPONENTS[dtype]
    numbers = content.view(kind)
    if np.any(numbers & kind(exponent) == exponent):
        raise UnsupportedModel(f"{file}: {name} holds infinities, or what is no number. Its training went wrong.")
