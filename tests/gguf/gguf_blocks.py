"""Random packed blocks that are valid weights, also of types that no Python library can quantise to.

A plain module: tests of other folders put this folder on sys.path.
"""

from __future__ import annotations

import gguf
import numpy as np

HALVES: dict[str, dict[int, float]] = {
    "Q4_0": {0: 1.0},
    "Q4_1": {0: 1.0, 2: -7.5},
    "Q5_0": {0: 1.0},
    "Q5_1": {0: 1.0, 2: -15.5},
    "Q8_0": {0: 1.0},
    "Q2_K": {80: 1.0, 82: 1.5},
    "Q3_K": {108: 1.0},
    "Q4_K": {0: 1.0, 2: 7.5},
    "Q5_K": {0: 1.0, 2: 15.5},
    "Q6_K": {208: 1.0},
    "IQ4_NL": {0: 1.0},
    "IQ4_XS": {0: 1.0},
}
"""Type -> byte of each float16 in a block -> its size beside the first, chosen so that values have a mean near 0."""


def random_blocks(type_name: str, rows: int, columns: int, rng: np.random.Generator, std: float = 1.0) -> np.ndarray:
    """Packed rows, uint8 [rows, bytes], whose values have about this standard deviation."""
    kind = gguf.GGMLQuantizationType[type_name]
    block_size, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (rows * columns // block_size, block_bytes), dtype=np.uint8)
    _set_scales(blocks, type_name, np.ones(len(blocks)))
    sizes = std / gguf.quants.dequantize(blocks, kind).std() * rng.uniform(0.7, 1.3, len(blocks))
    _set_scales(blocks, type_name, sizes)
    return blocks.reshape(rows, -1)


def _set_scales(blocks: np.ndarray, type_name: str, sizes: np.ndarray) -> None:
    for column, factor in HALVES[type_name].items():
        blocks[:, column : column + 2] = (sizes * factor).astype("<f2").reshape(-1, 1).view(np.uint8)
