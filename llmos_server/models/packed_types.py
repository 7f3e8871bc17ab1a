"""What the compiled kernels make of each type of tensor, and what it takes in memory; torch-free.

The loader packs by this table, and the memory budget reckons by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

HALF_BITS = 16


class Layout(NamedTuple):
    """How a weight lies in memory."""

    bits: int
    """Of an integer, or of a float."""
    group: int = 0
    """Inputs that share a float16 scale; 0 for floats."""
    has_minima: bool = False
    """Beside each scale a float16 minimum."""
    offset: int = 0
    """What makes the type's integers unsigned, for those of fewer than 8 bits: half their range."""

    @property
    def bits_per_weight(self) -> float:
        return self.bits + (HALF_BITS * (1 + self.has_minima) / self.group if self.group else 0)


FLOAT32, FLOAT16 = Layout(32), Layout(16)

FLOATS = ("F32", "F16", "BF16")

LAYOUTS: dict[str, Layout] = {
    "F32": FLOAT32,
    "F16": FLOAT16,
    "BF16": FLOAT16,
    "Q4_0": Layout(4, 32, offset=8),
    "Q4_1": Layout(4, 32, has_minima=True),
    "Q5_0": Layout(5, 32, offset=16),
    "Q5_1": Layout(5, 32, has_minima=True),
    "Q8_0": Layout(8, 32),
    "Q2_K": Layout(4, 16, has_minima=True),
    "Q3_K": Layout(4, 16, offset=8),
    "Q4_K": Layout(4, 32, has_minima=True),
    "Q5_K": Layout(5, 32, has_minima=True),
    "Q6_K": Layout(6, 16, offset=32),
    "IQ4_NL": Layout(8, 32),
    "IQ4_XS": Layout(8, 32),
}
"""GGUF's name of a type, and safetensors' for floats -> its layout."""


def packed_bytes(elements: Mapping[str, int]) -> int:
    """What weights take, but for what fills up the last 16 rows of a matrix. elements: type -> how many."""
    return int(sum(count * LAYOUTS.get(name, FLOAT32).bits_per_weight / 8 for name, count in elements.items()))


IN_8_BITS = ("embed_tokens", "lm_head", "k_proj", "v_proj")


def rounded_type(name: str, quantization: str) -> str:
    """What a matrix of floats is rounded to. name: Hugging Face's. Returns one of LAYOUTS' names.

    In int4, what suffers most for its size keeps more bits. Of smollm2:135m, all at 4 bits cost 21 % of perplexity;
    values at 8 and the MLP's output at 6 bring that to 5.7, keys at 8 to 4.9.
    """
    if quantization == "int8" or any(part in name for part in IN_8_BITS):
        return "Q8_0"
    return "Q6_K" if "down_proj" in name else "Q4_1"
