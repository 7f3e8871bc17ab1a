"""Batched matrix products for attention whose rows are bitwise the same in any batch, chosen by a probe at load.

The candidates from fast to slow; the last one is exact by construction. What a library does at odd widths or with few
matrices can't be known beforehand, so it is tried out.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from llmos_server.kernels.attention_plan import WIDE_TOKENS, TileShape

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""[n, rows, k] x [n, k, columns] -> [n, rows, columns]"""

COLUMN_MULTIPLE = 16
"""Whole vectors: the columns left over are computed by other loops, some of which look at a row's place."""
PROBE_MATRICES = 12


def padded_product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """With columns of zeros added up to COLUMN_MULTIPLE."""
    num_columns = right.shape[2]
    padding = -num_columns % COLUMN_MULTIPLE
    return torch.bmm(left, torch.nn.functional.pad(right, (0, padding)))[:, :, :num_columns].contiguous()


def product_one_by_one(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Each pair of matrices as a call of its own."""
    return torch.cat([padded_product(left[i : i + 1], right[i : i + 1]) for i in range(left.shape[0])])


def product_row_by_row(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Each row as a call of its own: nothing else is there that could change it."""
    products = [torch.mm(row, matrix) for rows, matrix in zip(left, right, strict=True) for row in rows.split(1)]
    return torch.cat(products).view(left.shape[0], left.shape[1], right.shape[2])


PRODUCTS: tuple[Product, ...] = (torch.bmm, padded_product, product_one_by_one)


def probe_products(shape: TileShape, device: torch.device) -> tuple[Product, int]:
    """The fastest exact product, and the tokens of a wide tile (1 if wide tiles give other bits than narrow ones)."""
    generator = torch.Generator().manual_seed(0)
    rows, head_dim = shape.rows(WIDE_TOKENS), shape.layout.head_dim
    keys = torch.randn(PROBE_MATRICES, shape.keys, head_dim, generator=generator).to(device)
    values = torch.randn(PROBE_MATRICES, shape.keys, shape.layout.value_size, generator=generator).to(device)
    queries = torch.randn(PROBE_MATRICES, rows, head_dim, generator=generator).to(device)
    weights = torch.rand(PROBE_MATRICES, rows, shape.keys, generator=generator).to(device)
    pairs = ((queries, keys.transpose(1, 2)), (weights, values))
    narrow = shape.rows(1)
    for product in PRODUCTS:
        if all(is_batch_exact(product, left[:, :narrow].contiguous(), right) for left, right in pairs):
            is_wide = all(
                is_batch_exact(product, left, right) and is_height_exact(product, left, right, narrow)
                for left, right in pairs
            )
            return product, WIDE_TOKENS if is_wide else 1
    return product_row_by_row, WIDE_TOKENS


def is_batch_exact(product: Product, left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether neither the other matrices of the batch nor a row's place change a bit."""
    together = product(left, right)
    alone = torch.cat([product(left[i : i + 1], right[i : i + 1]) for i in range(left.shape[0])])
    rolled = product(left.roll(1, 1), right).roll(-1, 1)
    return torch.equal(together, alone) and torch.equal(together, rolled)


def is_height_exact(product: Product, left: torch.Tensor, right: torch.Tensor, rows: int) -> bool:
    """Whether tiles of `rows` rows give what the whole height gives."""
    whole = product(left, right)
    return all(
        torch.equal(product(left[:, i : i + rows].contiguous(), right), whole[:, i : i + rows])
        for i in range(0, left.shape[1] - rows + 1, rows)
    )
