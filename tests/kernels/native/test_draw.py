"""Tokens are drawn by the compiled kernels as the sampler in torch draws them."""

from __future__ import annotations

import pytest
import torch

from llmos_server.contracts import SamplingParams
from llmos_server.engine.sampler import draw, keep_likely
from llmos_server.errors import KernelsUnavailable
from llmos_server.kernels.native.build import KERNEL_CACHE, find_or_build
from llmos_server.kernels.native.library import Library
from llmos_server.settings import find_home


@pytest.fixture(params=["avx512vnni", "avx2", "plain"])
def library(request: pytest.FixtureRequest) -> Library:
    try:
        return Library(find_or_build(find_home() / KERNEL_CACHE), 1, request.param)
    except KernelsUnavailable as error:
        pytest.skip(str(error))


def drawn(library: Library, scores: torch.Tensor, temperature: float, noise: float) -> int:
    return library.draw(scores.data_ptr(), scores.shape[0], temperature, noise)


@pytest.mark.parametrize("size", [1, 15, 97, 1024, 5000, 49152])
@pytest.mark.parametrize("temperature", [0.05, 0.7, 1.0, 5.0])
def test_the_same_tokens_as_in_float64(library: Library, size: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(size)
    scores = torch.randn(size, generator=generator) * 4
    weights = keep_likely(scores, SamplingParams(max_tokens=1, seed=0, temperature=temperature))
    noises = torch.rand(200, generator=generator, dtype=torch.float64).tolist()
    pairs = [(drawn(library, scores, temperature, noise), draw(weights, noise)) for noise in noises]
    mass = weights.cumsum(0) / weights.sum()
    for noise, (fast, slow) in zip(noises, pairs, strict=True):
        lower = float(mass[fast - 1]) if fast else 0.0  # Near a border between two tokens rounding may decide.
        assert lower - 1e-5 <= noise <= float(mass[fast]) + 1e-5
        assert fast == slow or abs(noise - float(mass[min(fast, slow)])) < 1e-5


def test_what_has_no_chance_is_never_drawn(library: Library) -> None:
    scores = torch.full((3000,), float("-inf"))
    scores[[5, 1030, 2999]] = torch.tensor([0.0, 0.0, 0.0])
    assert [drawn(library, scores, 1.0, noise) for noise in (0.0, 0.3, 0.4, 0.6, 0.7, 1 - 2**-53)] == [
        5, 5, 1030, 1030, 2999, 2999,
    ]  # fmt: skip


def test_the_ends_of_the_noise(library: Library) -> None:
    scores = torch.zeros(1000)
    assert drawn(library, scores, 1.0, 0.0) == 0
    assert drawn(library, scores, 1.0, 1 - 2**-53) == 999
