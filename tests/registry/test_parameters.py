from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from llmos_server.errors import PullError
from llmos_server.registry.parameters import count_elements
from llmos_server.registry.registry import Registry


def write_shard(path: Path, dtype: str = "F32", **shapes: list[int]) -> Path:
    tensors = {name: {"dtype": dtype, "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    header = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


def test_shards_add_up(tmp_path: Path) -> None:
    one = write_shard(tmp_path / "a.safetensors", embedding=[10, 4], norm=[4])
    two = write_shard(tmp_path / "b.safetensors", "BF16", scalar=[], empty=[0, 8])
    assert count_elements([one, two]) == {"F32": 10 * 4 + 4, "BF16": 1}


def test_packed_tensors_count_by_their_logical_shapes(fakes: ModuleType, tmp_path: Path) -> None:
    names = [name for name in fakes.tiny_tensors() if name.startswith("blk") and "norm" not in name]
    plain = fakes.write_gguf(tmp_path / "plain.gguf")
    packed = fakes.write_gguf(tmp_path / "packed.gguf", types=dict.fromkeys(names, "Q8_0"))
    sizes = {name: array.size for name, array in fakes.tiny_tensors().items()}
    assert count_elements([plain]) == {"F32": sum(sizes.values())}
    quantised = sum(sizes[name] for name in names)
    assert count_elements([packed]) == {"Q8_0": quantised, "F32": sum(sizes.values()) - quantised}


@pytest.mark.parametrize(
    "header", [b"[]", b"{", b'{"w": {"dtype": "F32", "shape": "ab"}}', b'{"w": {"shape": [1]}}', b'{"w": 5}']
)
def test_a_damaged_head_is_told(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(PullError, match="damaged safetensors header"):
        count_elements([path])


def test_an_import_records_them(fakes: ModuleType, tmp_path: Path, registry: Registry) -> None:
    gguf = registry.pull(f"file:{fakes.write_gguf(tmp_path / 'tiny.gguf')}", fakes.RecordingProgress())
    folder = registry.pull(f"file:{fakes.write_folder(tmp_path / 'tiny')}", fakes.RecordingProgress())
    assert (gguf.kind, gguf.num_parameters) == ("decoder", sum(a.size for a in fakes.tiny_tensors().values()))
    assert (folder.kind, folder.num_parameters) == ("decoder", 2)
    assert (gguf.elements, folder.elements) == ({"F32": gguf.num_parameters}, {"F32": 2})
