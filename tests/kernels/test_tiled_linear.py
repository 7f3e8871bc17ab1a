"""Products by tiles: right, and bitwise the same for a row in any batch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from llmos_server.kernels.reference import ReferenceKernels
from llmos_server.kernels.tiled_linear import ONE_ROW, TILE_ROWS, TiledLinear, cover_rows, probe_tile_rows

SHAPES = [(96, 64), (37, 41), (5, 7), (10, 41), (1, 3), (300, 128)]


@pytest.fixture(autouse=True, params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("has_bias", [False, True])
def test_rows_are_bitwise_the_same_in_any_batch(shape: tuple[int, int], has_bias: bool) -> None:
    weight = torch.randn(shape)
    bias = torch.randn(shape[0]) if has_bias else None
    linear = ReferenceKernels(torch.device("cpu")).linear(weight, bias)
    x = torch.randn(300, shape[1])
    expected = linear(x)
    torch.testing.assert_close(expected, torch.nn.functional.linear(x, weight, bias), rtol=1e-4, atol=1e-4)
    for num_rows in (*range(1, 18), 31, 63, 100, 257):
        for first in (0, 1, 5, 43):
            assert torch.equal(linear(x[first : first + num_rows]), expected[first : first + num_rows])


def test_one_row_at_a_time_gives_the_same_values() -> None:
    weight, x = torch.randn(24, 16), torch.randn(9, 16)
    linear = TiledLinear(weight, None, ONE_ROW, num_out=24)
    torch.testing.assert_close(linear(x), x @ weight.T)
    assert torch.equal(linear(x)[3:4], linear(x[3:4]))


def test_padded_output_columns_are_cut_off() -> None:
    weight, bias, x = torch.randn(32, 16), torch.randn(20), torch.randn(6, 16)
    out = TiledLinear(weight, bias, TILE_ROWS, num_out=20)(x)
    torch.testing.assert_close(out, x @ weight[:20].T + bias)


def test_probed_heights_are_a_choice_of_known_ones() -> None:
    assert set(probe_tile_rows(torch.randn(64, 96))) <= {*TILE_ROWS, *ONE_ROW}


@pytest.mark.parametrize(
    ("num_rows", "tiles"),
    [
        (1, (4,)),
        (4, (4,)),
        (5, (4, 4)),
        (7, (8,)),
        (9, (8, 4)),
        (13, (16,)),
        (512, (256, 256)),
        (515, (256, 256, 4)),
        (200, (256,)),
    ],
)
def test_tiles_cover_the_rows(num_rows: int, tiles: tuple[int, ...]) -> None:
    assert cover_rows(num_rows, TILE_ROWS) == tiles


@pytest.mark.parametrize("tile_rows", [TILE_ROWS, (16,), ONE_ROW, (8, 64)])
def test_any_set_of_heights_covers_any_count(tile_rows: tuple[int, ...]) -> None:
    for num_rows in range(1, 600):
        tiles = cover_rows(num_rows, tile_rows)
        assert set(tiles) <= set(tile_rows)
        assert num_rows <= sum(tiles) < num_rows + max(tile_rows)


def test_a_padded_batch_needs_no_more_padding() -> None:
    kernels = ReferenceKernels(torch.device("cpu"))
    for num_rows in range(1, 600):
        padded = kernels.padded_rows(num_rows)
        assert padded >= num_rows
        assert sum(cover_rows(padded, TILE_ROWS)) == padded
