"""Index tensors of paged attention: which query rows meet which key tiles, made once per step for all layers.

Keys are cut into tiles of fixed size, counted from position 0 of the sequence; queries into tiles of one token
("narrow") or of WIDE_TOKENS. A work item is one query tile against one key tile. A query's result is the sum over its
key tiles in order of position; tiles beyond it or outside its window are left out or add exact zeros, so nothing
depends on the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from llmos_server.kernels.base import HeadLayout, PagedBatch, Span

KEY_TILE_TOKENS = 128
WIDE_TOKENS = 32
MIN_WIDE_TOKENS = 8
"""Fewer tokens than this at the end of a chunk run as narrow tiles."""
ROW_MULTIPLE = 4
"""Products of fewer rows add in another order."""
MAX_GROUP_BYTES = 8 * 2**20
"""Of temporaries: they stay in the processor's caches, and long contexts don't grow memory."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TileShape:
    """Sizes that stay the same for the life of a model."""

    layout: HeadLayout

    @property
    def pages(self) -> int:
        """Pages in a key tile."""
        return max(1, KEY_TILE_TOKENS // self.layout.page_size)

    @property
    def keys(self) -> int:
        """Positions in a key tile."""
        return self.pages * self.layout.page_size

    def rows(self, tokens: int) -> int:
        """Rows of a query tile for one KV head: tokens times group size, rounded up."""
        return -(-tokens * self.layout.group_size // ROW_MULTIPLE) * ROW_MULTIPLE

    def item_bytes(self, rows: int) -> int:
        """Temporaries of one work item: gathered keys and values, queries, scores, output."""
        head_sizes = self.layout.head_dim + self.layout.value_size
        floats = self.keys * head_sizes + rows * (self.keys + head_sizes)
        return 4 * floats * self.layout.num_kv_heads


class QueryTile(NamedTuple):
    row: int
    position: int
    num_tokens: int
    span: int
    first_key_tile: int
    num_key_tiles: int


@dataclass(frozen=True)
class QueryGroup:
    """Query tiles of one height, those with the most key tiles first. Items are ordered by key tile, then query tile:
    the k-th block of `num_queries[k]` items belongs to the first num_queries[k] query tiles."""

    num_rows: int
    """Rows of a query tile for one KV head."""
    num_queries: list[int]
    query_index: torch.Tensor
    """Into q as [rows * heads, head_dim]: [items * kv_heads * num_rows]."""
    page_index: torch.Tensor
    """Into a layer's keys as [pages * kv_heads, page_size * head_dim], or its values likewise: [items * kv_heads *
    pages per tile]."""
    is_hidden: torch.Tensor
    """bool [items, 1, num_rows, keys]: the key is later than the query, or outside its window."""


@dataclass(frozen=True)
class AttentionPlan:
    groups: list[QueryGroup]
    write_index: torch.Tensor
    """Into a layer's keys as [pages * kv_heads * page_size, head_dim], or its values likewise: [tokens * kv_heads]."""
    output_index: torch.Tensor
    """Into all groups' results as [n, value_size]: [rows * heads]; padding rows repeat another row."""


def plan_attention(
    shape: TileShape, batch: PagedBatch, window: int | None, wide_tokens: int, device: torch.device
) -> AttentionPlan:
    """wide_tokens: tokens of a wide query tile, or 1 where only narrow ones may be used."""
    tables = _page_tables(shape, batch)
    tiles = [tile for i, span in enumerate(batch.spans) for tile in _cut(shape, i, span, window, wide_tokens)]
    output_index = np.zeros((batch.num_rows, shape.layout.num_heads), dtype=np.int64)
    groups, base = [], 0
    for tokens in (1, wide_tokens) if wide_tokens > 1 else (1,):
        chosen = [tile for tile in tiles if (tile.num_tokens > 1) == (tokens > 1)]
        for members in _bounded(shape, chosen, shape.rows(tokens)):
            groups.append(_group(shape, members, shape.rows(tokens), tables, window, device))
            base = _place_output(shape, members, shape.rows(tokens), output_index, base)
    return AttentionPlan(
        groups=groups,
        write_index=_on(device, _write_index(shape, batch)),
        output_index=_on(device, output_index.reshape(-1)),
    )


def _on(device: torch.device, array: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _cut(shape: TileShape, index: int, span: Span, window: int | None, wide_tokens: int) -> Iterator[QueryTile]:
    done = 0
    while done < span.num_tokens:
        left = span.num_tokens - done
        tokens = min(left, wide_tokens) if left >= MIN_WIDE_TOKENS else 1
        position = span.start + done
        first = max(0, position - window + 1) // shape.keys if window else 0
        last = (position + tokens - 1) // shape.keys
        yield QueryTile(span.row + done, position, tokens, index, first, last - first + 1)
        done += tokens


def _bounded(shape: TileShape, tiles: list[QueryTile], rows: int) -> Iterator[list[QueryTile]]:
    """Groups of at most MAX_GROUP_BYTES (or one tile), sorted as QueryGroup wants them."""
    max_items = MAX_GROUP_BYTES // shape.item_bytes(rows)
    group: list[QueryTile] = []
    num_items = 0
    for tile in sorted(tiles, key=lambda tile: -tile.num_key_tiles):
        if group and num_items + tile.num_key_tiles > max_items:
            yield group
            group, num_items = [], 0
        group.append(tile)
        num_items += tile.num_key_tiles
    if group:
        yield group


def _page_tables(shape: TileShape, batch: PagedBatch) -> Ints:
    """[spans, pages], each row filled up with its own first page: what stands there is always hidden."""
    ends = [span.start + span.num_tokens for span in batch.spans]
    width = (max(ends, default=0) + shape.keys - 1) // shape.keys * shape.pages
    tables = np.zeros((len(ends), width), dtype=np.int64)
    for table, span, end in zip(tables, batch.spans, ends, strict=True):
        pages = span.pages[: -(-end // shape.layout.page_size)]
        table[: len(pages)] = pages
        table[len(pages) :] = pages[0]
    return tables


def _row_places(shape: TileShape, tiles: list[QueryTile], rows: int) -> tuple[Ints, Ints]:
    """Which token of its tile and which head of its group each row of a tile is; padding rows repeat the first."""
    order = np.arange(rows)
    num_tokens = np.array([tile.num_tokens for tile in tiles])[:, None]
    token = np.where(order // shape.layout.group_size < num_tokens, order // shape.layout.group_size, 0)
    head = np.where(order // shape.layout.group_size < num_tokens, order % shape.layout.group_size, 0)
    return token, head


def _group(
    shape: TileShape, tiles: list[QueryTile], rows: int, tables: Ints, window: int | None, device: torch.device
) -> QueryGroup:
    num_heads, num_kv_heads = shape.layout.num_heads, shape.layout.num_kv_heads
    counts = np.array([tile.num_key_tiles for tile in tiles])
    num_queries = [int((counts > k).sum()) for k in range(counts[0])]
    item_query = np.concatenate([np.arange(n) for n in num_queries])
    item_tile = np.array([tile.first_key_tile for tile in tiles])[item_query]
    item_tile += np.repeat(np.arange(len(num_queries)), num_queries)

    token, head = _row_places(shape, tiles, rows)
    row = np.array([tile.row for tile in tiles])[:, None] + token
    position = np.array([tile.position for tile in tiles])[:, None] + token
    kv_head = np.arange(num_kv_heads)[:, None]
    query_index = (row * num_heads + head)[:, None, :] + kv_head * shape.layout.group_size

    slots = item_tile[:, None] * shape.pages + np.arange(shape.pages)
    pages = tables[np.array([tile.span for tile in tiles])[item_query][:, None], slots]
    page_index = pages[:, None, :] * num_kv_heads + kv_head

    keys = item_tile[:, None, None] * shape.keys + np.arange(shape.keys)
    at = position[item_query][:, :, None]
    is_hidden = keys > at if window is None else (keys > at) | (keys <= at - window)
    return QueryGroup(
        num_rows=rows,
        num_queries=num_queries,
        query_index=_on(device, query_index[item_query].reshape(-1)),
        page_index=_on(device, page_index.reshape(-1)),
        is_hidden=_on(device, is_hidden[:, None]),
    )


def _place_output(shape: TileShape, tiles: list[QueryTile], rows: int, output_index: Ints, base: int) -> int:
    """Note where each token's heads stand in the groups' joined results; returns where the next group starts."""
    heads = np.arange(shape.layout.num_heads)
    kv_head, head = heads // shape.layout.group_size, heads % shape.layout.group_size
    for i, tile in enumerate(tiles):
        token = np.arange(tile.num_tokens)[:, None]
        place = (i * shape.layout.num_kv_heads + kv_head) * rows + token * shape.layout.group_size + head
        output_index[tile.row : tile.row + tile.num_tokens] = base + place
    return base + len(tiles) * shape.layout.num_kv_heads * rows


def _write_index(shape: TileShape, batch: PagedBatch) -> Ints:
    page_size, num_kv_heads = shape.layout.page_size, shape.layout.num_kv_heads
    parts = []
    for span in batch.spans:
        position = np.arange(span.start, span.start + span.num_tokens)
        first = span.start // page_size
        pages = np.array(span.pages[first : (span.start + span.num_tokens - 1) // page_size + 1], dtype=np.int64)
        page, offset = pages[position // page_size - first], position % page_size
        parts.append((page[:, None] * num_kv_heads + np.arange(num_kv_heads)) * page_size + offset[:, None])
    return np.concatenate(parts).reshape(-1)
