from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from llmos_server.errors import PullError
from llmos_server.registry.parameters import count_parameters
from llmos_server.registry.registry import Registry


def write_shard(path: Path, **shapes: list[int]) -> Path:
    tensors = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    header = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


def test_shards_add_up(tmp_path: Path) -> None:
    one = write_shard(tmp_path / "a.safetensors", embedding=[10, 4], norm=[4])
    two = write_shard(tmp_path / "b.safetensors", scalar=[], empty=[0, 8])
    assert count_parameters([one, two]) == 10 * 4 + 4 + 1


def test_packed_tensors_count_by_their_logical_shapes(fakes: ModuleType, tmp_path: Path) -> None:
    names = [name for name in fakes.tiny_tensors() if name.startswith("blk") and "norm" not in name]
    plain = fakes.write_gguf(tmp_path / "plain.gguf")
    packed = fakes.write_gguf(tmp_path / "packed.gguf", types=dict.fromkeys(names, "Q8_0"))
    expected = sum(array.size for array in fakes.tiny_tensors().values())
    assert count_parameters([plain]) == count_parameters([packed]) == expected


@pytest.mark.parametrize("header", [b"[]", b"{", b'{"w": {"shape": "ab"}}', b'{"w": 5}'])
def test_a_damaged_head_is_told(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(PullError, match="damaged safetensors header"):
        count_parameters([path])


def test_an_import_records_them(fakes: ModuleType, tmp_path: Path, registry: Registry) -> None:
    gguf = registry.pull(f"file:{fakes.write_gguf(tmp_path / 'tiny.gguf')}", fakes.RecordingProgress())
    folder = registry.pull(f"file:{fakes.write_folder(tmp_path / 'tiny')}", fakes.RecordingProgress())
    assert (gguf.kind, gguf.num_parameters) == ("decoder", sum(a.size for a in fakes.tiny_tensors().values()))
    assert (folder.kind, folder.num_parameters) == ("decoder", 2)
