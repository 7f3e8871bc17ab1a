"""Typed look-ups in GGUF metadata."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from llmos_server.errors import UnsupportedModel


class MetadataReader:
    """Typed look-ups below one architecture's prefix. Raises UnsupportedModel that names the key."""

    def __init__(self, metadata: Mapping[str, Any], prefix: str) -> None:
        self._metadata, self._prefix = metadata, prefix

    def count(self, key: str, default: int | None = None) -> int:
        """A positive whole number."""
        value = self._metadata.get(f"{self._prefix}.{key}", default)
        if type(value) is not int or value < 1:
            raise UnsupportedModel(f"{self._prefix}.{key} is {short(value)}; one positive whole number is needed.")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A positive number, as the shortest decimal that is the same float32."""
        value = self._metadata.get(f"{self._prefix}.{key}", default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise UnsupportedModel(f"{self._prefix}.{key} is {short(value)}; a positive number is needed.")
        return float(str(np.float32(value)))

    def get(self, key: str) -> Any:
        """Whatever is there, or None."""
        return self._metadata.get(f"{self._prefix}.{key}")


def short(value: object) -> str:
    """For messages."""
    return repr(value)[:80]
