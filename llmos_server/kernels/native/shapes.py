"""Which decoders the compiled kernels can compute. Torch-free: the memory budget asks before a worker is there."""

from __future__ import annotations

from typing import NamedTuple

from llmos_server.errors import KernelsUnavailable

MAX_GROUP_SIZE = 24
"""src/attention.h: kBlockRows."""
SHARE_A_SCALE = 32
"""src/cache.h: ByteCache::kShared."""


class DecoderShape(NamedTuple):
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    page_size: int


def check_shape(shape: DecoderShape) -> None:
    """Raises KernelsUnavailable, naming the number that the compiled kernels can't compute with."""
    multiples = (
        ("hidden_size", shape.hidden_size, 32),
        ("intermediate_size", shape.intermediate_size, 32),
        ("head_dim", shape.head_dim, 16),
        ("num_attention_heads * head_dim", shape.num_heads * shape.head_dim, 32),
        ("engine.page_size", shape.page_size, 16),
    )
    for name, number, multiple in multiples:
        if number % multiple:
            raise KernelsUnavailable(f"{name} = {number} is no multiple of {multiple}.")
    if shape.num_heads // shape.num_kv_heads > MAX_GROUP_SIZE:
        raise KernelsUnavailable(
            f"{shape.num_heads // shape.num_kv_heads} query heads share a KV head; at most {MAX_GROUP_SIZE} may."
        )


def cached_row_bytes(head_dim: int, *, is_int8: bool) -> int:
    """Of one position's key, or value, of one head in a page: float16, or int8 and its scales."""
    return head_dim + 2 * -(-head_dim // SHARE_A_SCALE) if is_int8 else 2 * head_dim
