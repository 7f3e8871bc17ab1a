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
from llmos_server.kernels.base import HeadLayout, LayerCache, PagedBatch, Scoring, Span
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

    def is_seen(self, window: int | None) -> torch.Tensor:
        position = torch.arange(len(self.q))
        is_seen = position[None] <= position[:, None]
        return is_seen if window is None else is_seen & (position[None] > position[:, None] - window)

    def expected(self, window: int | None) -> torch.Tensor:
        length, is_seen = len(self.q), self.is_seen(window)
        heads = [x.transpose(0, 1)[None] for x in (self.q, self.k, self.v)]
        out = F.scaled_dot_product_attention(*heads, attn_mask=is_seen, enable_gqa=True)
        return out[0].transpose(0, 1).reshape(length, -1)

    def expected_by_hand(self, scoring: Scoring, sinks: torch.Tensor | None, window: int | None) -> torch.Tensor:
        """In float64, step by step, for what torch's own attention hasn't."""
        q, k, v = (x.double().transpose(0, 1) for x in (self.q, self.k, self.v))
        k, v = (x.repeat_interleave(len(q) // len(x), dim=0) for x in (k, v))
        scores = q @ k.transpose(1, 2) * scoring.scale
        if scoring.softcap is not None:
            scores = scoring.softcap * torch.tanh(scores / scoring.softcap)
        scores = scores.masked_fill(~self.is_seen(window), float("-inf"))
        extra = torch.full((len(q), 1), float("-inf")) if sinks is None else sinks[:, None]
        whole = torch.cat((scores, extra.double()[:, None].expand(-1, len(self.q), -1)), dim=-1)
        out = whole.softmax(-1)[..., :-1] @ v
        return out.transpose(0, 1).reshape(len(self.q), -1).float()


class Pool:
    """A cache full of junk, and sequences with scattered pages in it."""

    def __init__(self, layout: HeadLayout, attention: TiledAttention, num_pages: int = 400) -> None:
        shapes = ReferenceKernels(CPU).cache_shapes(num_pages, layout)
        self.layout = layout
        self.attention = attention
        self.cache = LayerCache(*(torch.randn(shape) * 100 for shape in shapes))
        self.free = random.Random(0).sample(range(num_pages), num_pages)

    def tokens(self, length: int) -> Tokens:
        k = torch.randn(length, self.layout.num_kv_heads, self.layout.head_dim)
        v = torch.randn(length, self.layout.num_kv_heads, self.layout.value_size)
        pages = [self.free.pop() for _ in range(-(-length // self.layout.page_size))]
        q = torch.randn(length, self.layout.num_heads, self.layout.head_dim)
        return Tokens(q, k, v, pages)

    def run(
        self,
        parts: list[tuple[Tokens, int, int]],
        window: int | None = None,
        padding: int = 0,
        sinks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """parts: tokens first .. last of each, in one batch."""
        spans, row = [], 0
        for tokens, first, last in parts:
            spans.append(Span(row, first, last - first, tokens.pages))
            row += last - first
        rows = [torch.cat([getattr(t, name)[first:last] for t, first, last in parts]) for name in "qkv"]
        rows = [torch.cat((x, x.new_zeros(padding, *x.shape[1:]))) for x in rows]
        plan = self.attention.plan(PagedBatch(tuple(spans), row + padding), window)
        return self.attention(*rows, self.cache, plan, sinks)


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
        HeadLayout(4, 4, 24, 16, value_dim=10),
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
@pytest.mark.parametrize(
    "layout", [LAYOUT, HeadLayout(6, 6, 10, 16), HeadLayout(5, 1, 6, 16), HeadLayout(4, 2, 24, 16, value_dim=10)]
)
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


@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize("has_sinks", [False, True])
@pytest.mark.parametrize("scoring", [Scoring(0.7), Scoring(1.5, softcap=4.0), Scoring(0.05, softcap=50.0)])
def test_scaled_and_capped_scores_and_sinks(scoring: Scoring, has_sinks: bool, window: int | None) -> None:
    sinks = torch.randn(LAYOUT.num_heads) * 3 if has_sinks else None
    pool = Pool(LAYOUT, TiledAttention.probed(LAYOUT, CPU, scoring))
    sequences = [pool.tokens(length) for length in (1, 150, 33)]
    out = pool.run([(s, 0, len(s.q)) for s in sequences], window, sinks=sinks)
    expected = torch.cat([s.expected_by_hand(scoring, sinks, window) for s in sequences])
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    again = pool.run([(sequences[1], 100, 107), (sequences[2], 0, 33)], window, sinks=sinks)
    assert torch.equal(again[:7], out[101:108])
    assert torch.equal(again[7:], out[151:])


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
