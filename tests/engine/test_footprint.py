"""What a model takes is told before it is loaded: floats on the exact kernels, what the file holds on the compiled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmos_server.contracts import ModelVersion
from llmos_server.engine.footprint import OWN_FAMILIES, MemoryBudget
from llmos_server.kernels.native.build import find_compiler
from llmos_server.models.config import FAMILIES
from llmos_server.settings import EngineSettings

GIB = 2**30
CONFIG = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
    "num_key_value_heads": 2, "num_hidden_layers": 2, "max_position_embeddings": 1024,
}  # fmt: skip


@pytest.fixture
def make_version(tmp_path: Path) -> Any:
    def make(type_name: str = "Q4_1", **changes: Any) -> ModelVersion:
        (tmp_path / "config.json").write_text(json.dumps(CONFIG | changes))
        return ModelVersion(
            name="a", source="a", digest="sha256:a", folder=str(tmp_path), weights=[], context_length=1024, created=0,
            num_parameters=1_000_000, size_bytes=700_000, elements={type_name: 900_000, "F32": 100_000},
        )  # fmt: skip

    return make


def weights(version: ModelVersion, **settings: Any) -> int:
    return MemoryBudget(EngineSettings(**settings), 16 * GIB).measure(version, 1).weights


def test_packed_weights_take_what_their_types_take(make_version: Any) -> None:
    find_compiler()
    for type_name, bits in {"BF16": 16, "Q8_0": 8.5, "Q4_1": 5, "Q5_K": 6, "IQ4_NL": 8.5}.items():
        assert weights(make_version(type_name)) == 900_000 * bits / 8 + 400_000


def test_a_file_with_a_damaged_head_is_reckoned_by_its_size(make_version: Any) -> None:
    assert weights(msgspec.structs.replace(make_version(), elements={})) == 700_000


def test_floats_where_the_compiled_kernels_dont_compute(make_version: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights(make_version(), numerics="exact") == 4_000_000
    assert weights(make_version(), page_size=8) == 4_000_000
    assert weights(make_version(model_type="gemma2")) == 4_000_000
    assert weights(make_version(hidden_size=48)) == 4_000_000
    assert weights(make_version(num_attention_heads="4")) == 4_000_000
    monkeypatch.setenv("CXX", "/nowhere/c++")
    assert weights(make_version()) == 4_000_000


def test_pages_are_half_as_large(make_version: Any) -> None:
    fast, exact, bytes_ = (
        MemoryBudget(EngineSettings(**settings), 64 * GIB).measure(make_version(), 1).cache
        for settings in ({}, {"numerics": "exact"}, {"cache_dtype": "int8"})
    )
    assert exact == 2 * fast > 0
    assert bytes_ == fast * 18 // 32


def test_the_families_are_those_of_the_decoder() -> None:
    assert OWN_FAMILIES == FAMILIES


def test_a_draft_model_adds_its_weights_and_shares_the_cache(make_version: Any) -> None:
    budget = MemoryBudget(EngineSettings(), 16 * GIB)
    version = make_version()
    alone, pair = budget.measure(version, 1), budget.measure(version, 1, version)
    assert pair.weights == 2 * alone.weights
    assert pair.cache == min(2 * alone.cache, 4 * GIB)
    given = MemoryBudget(EngineSettings(cache_bytes=2**20), 16 * GIB)
    assert given.measure(version, 1, version).cache == 2**20
