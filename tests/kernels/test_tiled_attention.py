"""Paged attention against torch's own on the unpaged keys, and bitwise against itself in other company."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from llmos_server.kernels.attention_plan import MAX_GROUP_BYTES, WIDE_TOKENS, TileShape
from llmos_server.kernels.base import HeadLayout, LayerCache, PagedBatch, Span
from llmos_server.kernels.fixed_products import (
    is_batch_exact,
    is_height_exact,
    padded_product,
    probe_products,
    product_one_by_one,
    product_row_by_row,
)
from llmos_server.kernels.reference import ReferenceKernels
from llmos_server.kernels.tiled_attention import TiledAttention

CPU = torch.device("cpu")
LAYOUT = HeadLayout(num_heads=6, num_kv_heads=2, head_dim=16, page_size=16)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)


@dataclass
class Tokens:
    """Queries, keys and values of one sequence, and its pages."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    pages: list[int]

    def expected(self, window: int | None) -> torch.Tensor:
        length = len(self.q)
        position = torch.arange(length)
        is_seen = position[None] <= position[:, None]
        if window is not None:
            is_seen &= position[None] > position[:, None] - window
        heads = [x.transpose(0, 1)[None] for x in (self.q, self.k, self.v)]
        out = F.scaled_dot_product_attention(*heads, attn_mask=is_seen, enable_gqa=True)
        return out[0].transpose(0, 1).reshape(length, -1)


class Pool:
    """A cache full of junk, and sequences with scattered pages in it."""

    def __init__(self, layout: HeadLayout, attention: TiledAttention, num_pages: int = 400) -> None:
        shape = ReferenceKernels(CPU).cache_shape(num_pages, layout)
        self.layout = layout
        self.attention = attention
        self.cache = LayerCache(torch.randn(shape) * 100, torch.randn(shape) * 100)
        self.free = random.Random(0).sample(range(num_pages), num_pages)

    def tokens(self, length: int) -> Tokens:
        kv_shape = (length, self.layout.num_kv_heads, self.layout.head_dim)
        pages = [self.free.pop() for _ in range(-(-length // self.layout.page_size))]
        q = torch.randn(length, self.layout.num_heads, self.layout.head_dim)
        return Tokens(q, torch.randn(kv_shape), torch.randn(kv_shape), pages)

    def run(self, parts: list[tuple[Tokens, int, int]], window: int | None = None, padding: int = 0) -> torch.Tensor:
        """parts: tokens first .. last of each, in one batch."""
        spans, row = [], 0
        for tokens, first, last in parts:
            spans.append(Span(row, first, last - first, tokens.pages))
            row += last - first
        rows = [torch.cat([getattr(t, name)[first:last] for t, first, last in parts]) for name in "qkv"]
        rows = [torch.cat((x, x.new_zeros(padding, *x.shape[1:]))) for x in rows]
        plan = self.attention.plan(PagedBatch(tuple(spans), row + padding), window)
        return self.attention(*rows, self.cache, plan)


def probed(layout: HeadLayout) -> Pool:
    return Pool(layout, TiledAttention.probed(layout, CPU))


@pytest.mark.parametrize("window", [None, 1, 5, 128, 200])
@pytest.mark.parametrize(
    "layout",
    [
        LAYOUT,
        HeadLayout(4, 4, 8, 16),
        HeadLayout(5, 1, 10, 16),
        HeadLayout(2, 2, 64, 7),
        HeadLayout(2, 1, 2, 1),
        HeadLayout(2, 1, 8, 300),
    ],
)
def test_equals_plain_attention(layout: HeadLayout, window: int | None) -> None:
    pool = probed(layout)
    sequences = [pool.tokens(length) for length in (1, 150, 33)]
    out = pool.run([(s, 0, len(s.q)) for s in sequences], window, padding=4)
    expected = torch.cat([s.expected(window) for s in sequences])
    torch.testing.assert_close(out[: len(expected)], expected, rtol=1e-4, atol=1e-5)
    assert out.isfinite().all()


@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize("layout", [LAYOUT, HeadLayout(6, 6, 10, 16), HeadLayout(5, 1, 6, 16)])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_bitwise_the_same_in_any_cut(layout: HeadLayout, window: int | None, num_threads: int) -> None:
    torch.set_num_threads(num_threads)
    pool = probed(layout)
    sequence, other, single = pool.tokens(300), pool.tokens(140), pool.tokens(1)
    expected = pool.run([(sequence, 0, 300)], window)
    for cuts in ([0, 1, 130, 300], [0, 9, 48, 255, 300], [0, 299, 300]):
        for first, last in pairwise(cuts):
            out = pool.run([(other, 0, 140), (sequence, first, last), (single, 0, 1)], window)
            assert torch.equal(out[140:-1], expected[first:last])


def test_long_batches_run_in_bounded_groups() -> None:
    layout = HeadLayout(num_heads=8, num_kv_heads=8, head_dim=64, page_size=16)
    pool = probed(layout)
    sequence = pool.tokens(1000)
    plan = pool.attention.plan(PagedBatch((Span(0, 0, 1000, sequence.pages),), 1000), None)
    assert len(plan.groups) > 2
    shape = TileShape(layout)
    for group in plan.groups:
        is_small = sum(group.num_queries) * shape.item_bytes(group.num_rows) <= MAX_GROUP_BYTES
        assert is_small or group.num_queries[0] == 1
    torch.testing.assert_close(pool.run([(sequence, 0, 1000)]), sequence.expected(None), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("product", [torch.bmm, padded_product, product_one_by_one, product_row_by_row])
@pytest.mark.parametrize("wide_tokens", [1, WIDE_TOKENS])
def test_every_product_that_the_probe_may_choose(product: object, wide_tokens: int) -> None:
    pool = Pool(LAYOUT, TiledAttention(TileShape(LAYOUT), CPU, product, wide_tokens))
    sequence = pool.tokens(45)
    out = pool.run([(sequence, 0, 45)])
    torch.testing.assert_close(out, sequence.expected(None), rtol=1e-4, atol=1e-5)


def test_the_probe_finds_what_depends_on_the_batch() -> None:
    left, right = torch.randn(3, 8, 16), torch.randn(3, 16, 32)
    place = torch.arange(8)[:, None]
    assert is_batch_exact(product_row_by_row, left, right)
    assert is_height_exact(product_row_by_row, left, right, 4)
    assert not is_batch_exact(lambda a, b: torch.bmm(a, b) + a.shape[0], left, right)
    assert not is_batch_exact(lambda a, b: torch.bmm(a, b) + place, left, right)
    assert not is_height_exact(lambda a, b: torch.bmm(a, b) + a.shape[1], left, right, 4)


@pytest.mark.parametrize("head_dim", [2, 6, 10, 64])
def test_what_the_probe_chooses_is_exact(head_dim: int) -> None:
    shape = TileShape(HeadLayout(6, 2, head_dim, 16))
    product, wide_tokens = probe_products(shape, CPU)
    weights, values = torch.rand(3, shape.rows(1), shape.keys), torch.randn(3, shape.keys, head_dim)
    assert is_batch_exact(product, weights, values)
    assert wide_tokens in (1, WIDE_TOKENS)
