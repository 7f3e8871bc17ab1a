"""The cache of the models' text sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmos_server.api.renderers import RendererCache
from llmos_server.contracts import ModelVersion
from llmos_server.errors import EngineFailed, UnsupportedModel

VERSION = ModelVersion(
    name="m", source="file:/m", digest="sha256:00", folder="/m", weights=[], context_length=8, size_bytes=0, created=0
)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [(UnsupportedModel("broken"), EngineFailed), (OSError("gone"), EngineFailed), (MemoryError(), MemoryError)],
)
async def test_after_any_failure_the_next_request_tries_again(
    failure: Exception, expected: type[Exception], fakes: Any
) -> None:
    outcomes = [failure, fakes.ByteRenderer()]

    def load(folder: Path) -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    cache = RendererCache(load)
    with pytest.raises(expected):
        await cache.get(VERSION)
    renderer = await cache.get(VERSION)
    assert await cache.get(VERSION) is renderer
