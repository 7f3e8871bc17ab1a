"""Row-wise kernels: right, and bitwise the same for a row in any batch and on any number of threads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from llmos_server.kernels.reference import ReferenceKernels

KERNELS = ReferenceKernels(torch.device("cpu"))
Rows = Callable[[torch.Tensor], torch.Tensor]


def check_rows(function: Rows, x: torch.Tensor) -> None:
    expected = function(x)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for num_rows in (*range(1, 20), 100, 299):
            for first in (0, 1, 7):
                rows = slice(first, first + num_rows)
                assert torch.equal(function(x[rows]), expected[rows])
                assert torch.equal(function(x[rows].clone()), expected[rows])
    torch.set_num_threads(1)


@pytest.mark.parametrize("width", [1, 41, 64, 576])
def test_rms_norm(width: int) -> None:
    x, weight = torch.randn(300, width) * 3, torch.randn(width)
    torch.testing.assert_close(KERNELS.rms_norm(x, weight, 1e-5), F.rms_norm(x, (width,), weight, 1e-5))
    check_rows(lambda rows: KERNELS.rms_norm(rows, weight, 1e-5), x)


@pytest.mark.parametrize("width", [1, 41, 96, 1536])
def test_swiglu(width: int) -> None:
    x = torch.randn(300, 2 * width) * 4
    torch.testing.assert_close(KERNELS.swiglu(x), F.silu(x[:, :width]) * x[:, width:])
    check_rows(KERNELS.swiglu, x)


def test_swiglu_far_from_zero() -> None:
    gate_up = torch.tensor([[-200.0, -88.0, 0.0, 200.0, 1.0, 1.0, 1.0, 1.0]])
    assert KERNELS.swiglu(gate_up).tolist() == [[0.0, pytest.approx(0.0, abs=1e-36), 0.0, 200.0]]


def test_rotate_turns_pairs_of_halves() -> None:
    x = torch.randn(5, 3, 8)
    angles = torch.randn(5, 4)
    out = KERNELS.rotate(x, angles.cos(), angles.sin())
    turned = torch.view_as_complex(torch.stack((x[..., :4], x[..., 4:]), -1)) * torch.polar(
        torch.ones(5, 1, 4), angles[:, None]
    )
    torch.testing.assert_close(out, torch.cat((turned.real, turned.imag), -1))
