"""Matrix products whose rows are bitwise the same in any batch.

A matrix library picks its inner loops by the number of rows, and different loops add in different orders. So the rows
of a batch are cut into tiles of a few fixed heights, and a height is used only if a probe at load has found that it
gives every row bitwise what all the others give, wherever the row stands. One operator per weight, fixed at load,
never chosen by row count.
"""

from __future__ import annotations

from functools import lru_cache

import torch

TILE_ROWS = (4, 8, 16, 32, 64, 128, 256)
"""Heights that may be used. 1 to 3 rows run as matrix times vector in every library, and add differently."""
PROBE_TILE_ROWS = 16
ONE_ROW = (1,)


def probe_tile_rows(weight_t: torch.Tensor) -> tuple[int, ...]:
    """The heights that agree with each other bitwise for this weight [in, out], ascending.

    (1,) when a row's result depends on its place even within one height: then each row is computed alone.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(TILE_ROWS[-1], weight_t.shape[0], generator=generator).to(weight_t.device)
    expected = _product_in_tiles(x, weight_t, PROBE_TILE_ROWS)
    rolled = _product_in_tiles(x.roll(5, dims=0), weight_t, PROBE_TILE_ROWS).roll(-5, dims=0)
    if not torch.equal(expected, rolled):
        return ONE_ROW
    return tuple(rows for rows in TILE_ROWS if torch.equal(torch.mm(x[:rows], weight_t), expected[:rows]))


def _product_in_tiles(x: torch.Tensor, weight_t: torch.Tensor, rows: int) -> torch.Tensor:
    return torch.cat([torch.mm(tile, weight_t) for tile in x.split(rows)])


@lru_cache(maxsize=4096)
def cover_rows(num_rows: int, tile_rows: tuple[int, ...]) -> tuple[int, ...]:
    """Heights of the tiles that cover num_rows, tallest first; their sum may be more.

    A tile that would be more than three quarters full is taken whole: one padded product is cheaper than several small
    ones.
    """
    tiles: list[int] = []
    left = num_rows
    while left > 0:
        enough = next((rows for rows in tile_rows if rows >= left), None)
        below = [rows for rows in tile_rows if rows <= left]
        if enough is not None and (not below or 4 * left > 3 * enough):
            tiles.append(enough)
            break
        tiles.append(below[-1])
        left -= below[-1]
    return tuple(tiles)


class TiledLinear:
    """x @ weight.T + bias for float32 [rows, in] -> [rows, out], tile by tile."""

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, tile_rows: tuple[int, ...], num_out: int
    ) -> None:
        """weight: [num_out or more, in]; rows beyond num_out are padding. bias: [num_out]."""
        self._num_out = num_out
        self._weight_t = weight.t()
        self._bias = bias
        self._tile_rows = tile_rows

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        num_rows = x.shape[0]
        tiles = cover_rows(num_rows, self._tile_rows)
        num_padding = sum(tiles) - num_rows
        if num_padding:
            x = torch.cat((x, x.new_zeros(num_padding, x.shape[1])))
        out = torch.mm(x, self._weight_t) if len(tiles) == 1 else self._tiled(x, tiles)
        if out.shape != (num_rows, self._num_out):
            out = out[:num_rows, : self._num_out].contiguous()
        if self._bias is not None:
            out += self._bias
        return out

    def _tiled(self, x: torch.Tensor, tiles: tuple[int, ...]) -> torch.Tensor:
        out = x.new_empty(x.shape[0], self._weight_t.shape[1])
        row = 0
        for rows in tiles:
            torch.mm(x[row : row + rows], self._weight_t, out=out[row : row + rows])
            row += rows
        return out
