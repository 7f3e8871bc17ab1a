"""A model's tree of modules and tensors: sums add up, nothing is lost, names are the field's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import gguf
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.contracts import ModelVersion
from llmos_server.gguf.architectures import ARCHITECTURES
from llmos_server.gguf.names import usual_names
from llmos_server.registry.registry import Registry
from llmos_server.registry.structure import MAX_DEPTH, Module, Structure, Tensor, build_tree, read_structure
from llmos_server.registry.tensors import StoredTensor

PART = st.sampled_from(["model", "layers", "0", "1", "10", "self_attn", "q_proj", "", "weight", "é", "9" * 30])
NAME = st.lists(PART, min_size=1, max_size=6).map(".".join) | st.text(".x", min_size=1, max_size=100)
STORED = st.builds(
    StoredTensor,
    NAME,
    st.lists(st.integers(0, 99), max_size=4).map(tuple),
    st.sampled_from(["Q4_1", "F32"]),
    st.integers(0, 2**40),
)


def modules(module: Module, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Module]]:
    """With the names of all above them."""
    yield path, module
    for child in module.children:
        yield from modules(child, (*path, child.name))


def tensors(root: Module) -> list[tuple[str, Tensor]]:
    return [(".".join((*path, tensor.name)), tensor) for path, module in modules(root) for tensor in module.tensors]


@given(st.lists(STORED, max_size=30))
def test_a_parent_is_the_sum_of_what_is_below_it_and_nothing_is_lost(stored: list[StoredTensor]) -> None:
    root = build_tree(stored)
    for path, module in modules(root):
        parts = [*module.children, *module.tensors]
        assert module.parameters == sum(part.parameters for part in parts)
        assert module.bytes == sum(part.bytes for part in parts)
        names = [child.name for child in module.children]
        assert len(set(names)) == len(names)
        assert len(path) <= MAX_DEPTH
    found = [(name, tuple(t.shape), t.dtype, t.bytes) for name, t in tensors(root)]
    assert sorted(found) == sorted((t.name, t.shape, t.type_name, t.num_bytes) for t in stored)
    assert msgspec.json.decode(msgspec.json.encode(root), type=Module) == root


def test_layers_are_in_the_order_of_their_numbers() -> None:
    stored = [StoredTensor(f"h.{place}.w", (1,), "F32", 4) for place in (10, 9, 0, 2)]
    [h] = build_tree(stored).children
    assert [child.name for child in h.children] == ["0", "2", "9", "10"]


@pytest.mark.real_model
def test_the_default_model(smollm2: ModelVersion) -> None:
    structure = read_structure(smollm2)
    theirs = gguf.GGUFReader(smollm2.weights[0]).tensors
    assert structure.parameters == sum(int(tensor.n_elements) for tensor in theirs) == smollm2.num_parameters
    assert structure.bytes == sum(int(tensor.n_bytes) for tensor in theirs)
    found = dict(tensors(structure.root))
    assert len(found) == len(theirs)
    q = found["model.layers.29.self_attn.q_proj.weight"]
    [stored] = [tensor for tensor in theirs if tensor.name == "blk.29.attn_q.weight"]
    assert (q.shape, q.dtype, q.bytes) == ([576, 576], stored.tensor_type.name, int(stored.n_bytes))
    assert [child.name for child in structure.root.children] == ["model"]
    sizes = {"num_layers": 30, "hidden_size": 576, "intermediate_size": 1536, "num_heads": 9, "num_kv_heads": 3}
    more = {"head_size": 64, "vocab_size": 49152, "context_length": smollm2.context_length}
    assert structure.config == sizes | more


@pytest.mark.real_model
def test_the_default_model_for_embeddings(minilm: ModelVersion) -> None:
    structure = read_structure(minilm)
    [path] = map(Path, minilm.weights)
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    assert structure.bytes == path.stat().st_size - 8 - header
    assert structure.parameters == minilm.num_parameters
    assert structure.architecture == "bert"
    assert "encoder.layer.5.attention.self.query.weight" in dict(tensors(structure.root))


def test_a_pulled_file_and_folder(fakes: ModuleType, registry: Registry, tmp_path: Path) -> None:
    file = registry.pull(f"file:{fakes.write_gguf(tmp_path / 'tiny.gguf')}", fakes.RecordingProgress())
    folder = registry.pull(f"file:{fakes.write_folder(tmp_path / 'tiny')}", fakes.RecordingProgress())
    for version in (file, folder):
        structure = read_structure(version)
        assert (structure.model, structure.parameters) == (version.name, version.num_parameters)
        assert msgspec.json.decode(msgspec.json.encode(structure), type=Structure) == structure


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_transformers_computes_has_its_names(name: str) -> None:
    stated = "llama" if name == "mixtral" else name
    parameters = ARCHITECTURES[name].parameters(2)
    stored = [part for parts in parameters.values() for part in parts]
    metadata = {"general.architecture": stated, f"{stated}.block_count": 2, "llama.expert_count": 4}
    names = usual_names(metadata, [*stored, "output.weight", "blk.0.unheard_of.weight"])
    assert len(set(names.values())) == len(names)
    assert names["output.weight"] == "lm_head.weight"
    assert names["blk.0.unheard_of.weight"] == "blk.0.unheard_of.weight"
    for parameter, parts in parameters.items():
        assert all(names[part] == parameter or len(parts) > 1 for part in parts)
        assert all(names[part].startswith(parameter) for part in parts)


def test_names_of_an_unknown_architecture_are_the_files() -> None:
    assert usual_names({"general.architecture": "mamba"}, ["blk.0.ssm_a"]) == {"blk.0.ssm_a": "blk.0.ssm_a"}
    assert usual_names({"general.architecture": "gemma", "gemma.block_count": -1}, ["blk.0.x"])["blk.0.x"] == "blk.0.x"
    assert usual_names({"general.architecture": "gemma", "gemma.block_count": 2**60}, ["a"]) == {"a": "a"}
