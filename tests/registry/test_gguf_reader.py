from __future__ import annotations

import struct
from pathlib import Path
from types import ModuleType

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_server.errors import PullError, UnsupportedModel
from llmos_server.gguf.dequantize import dequantize
from llmos_server.gguf.reader import GGUFFile
from llmos_server.gguf.types import READABLE_TYPES, TENSOR_TYPES

PACKED = ("Q4_0", "Q4_1", "Q8_0", "F16", "BF16")


@pytest.fixture(scope="module")
def model(fakes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = fakes.write_gguf(
        tmp_path_factory.mktemp("gguf") / "tiny.gguf",
        metadata={"x.flags": [True, False], "x.real": 0.5, "x.empty": "", "x.ints": [1, -2, 3]},
        types={"blk.0.attn_q.weight": "Q4_1", "blk.0.attn_k.weight": "Q8_0"},
    )
    return path


def test_metadata_and_tensors_equal_the_reference_reader(model: Path) -> None:
    reference = gguf.GGUFReader(model)
    with GGUFFile.open(model) as ours:
        for key, field in reference.fields.items():
            if not key.startswith("GGUF."):
                assert ours.metadata[key] == field.contents(), key
        assert list(ours.tensors) == [tensor.name for tensor in reference.tensors]
        for tensor in reference.tensors:
            info = ours.tensors[tensor.name]
            assert info.shape == tuple(int(n) for n in reversed(tensor.shape))
            assert (info.type_name, info.num_bytes) == (tensor.tensor_type.name, tensor.n_bytes)
            assert bytes(ours.raw(tensor.name)) == tensor.data.tobytes()


def test_views_are_read_only_and_outlive_the_file(model: Path) -> None:
    with GGUFFile.open(model) as file:
        view = file.raw("output_norm.weight")
    assert not view.flags.writeable
    assert view.size == 32 * 4
    assert np.isfinite(dequantize(view, "F32", (32,))).all()
    with pytest.raises(ValueError, match="closed"):
        file.raw("output_norm.weight")


def test_unknown_tensor_is_named(model: Path) -> None:
    with GGUFFile.open(model) as file, pytest.raises(UnsupportedModel, match="no tensor 'nothing'"):
        file.raw("nothing")


def test_other_types_are_listed_but_their_weights_refused_by_name(fakes: ModuleType, tmp_path: Path) -> None:
    path = fakes.write_gguf(tmp_path / "t.gguf", types={"blk.0.ffn_up.weight": "MXFP4"})
    with GGUFFile.open(path) as file:
        assert file.tensors["blk.0.ffn_up.weight"].type_name == "MXFP4"
        with pytest.raises(UnsupportedModel, match=r"MXFP4.*Q8_0"):
            file.raw("blk.0.ffn_up.weight")


def test_the_table_of_types_agrees_with_the_reference() -> None:
    for number, layout in TENSOR_TYPES.items():
        kind = gguf.GGMLQuantizationType(number)
        assert (layout.name, (layout.block_size, layout.block_bytes)) == (kind.name, gguf.GGML_QUANT_SIZES[kind])


class TestHostileFiles:
    def head(self, *, version: int = 3, tensors: int = 0, pairs: int = 0) -> bytes:
        return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs)

    def text(self, value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    def tensor(self, name: bytes, dims: list[int], kind: int, offset: int) -> bytes:
        return self.text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)

    def reject(self, tmp_path: Path, content: bytes, match: str) -> None:
        path = tmp_path / "bad.gguf"
        path.write_bytes(content)
        with pytest.raises((PullError, UnsupportedModel), match=match):
            GGUFFile.open(path)

    def test_not_gguf(self, tmp_path: Path) -> None:
        self.reject(tmp_path, b"", "empty")
        self.reject(tmp_path, b"GG", "not a GGUF")
        self.reject(tmp_path, b"PK\x03\x04" + bytes(40), "not a GGUF")
        with pytest.raises(PullError, match="can't be read"):
            GGUFFile.open(tmp_path / "absent.gguf")

    def test_other_versions_and_byte_orders(self, tmp_path: Path) -> None:
        self.reject(tmp_path, self.head(version=1), "version 1 ")
        self.reject(tmp_path, self.head(version=3 << 24), "big-endian")

    def test_absurd_counts_cost_no_memory(self, tmp_path: Path) -> None:
        self.reject(tmp_path, self.head(pairs=2**63), "claims")
        self.reject(tmp_path, self.head(tensors=2**60), "claims")
        array = self.text(b"k") + struct.pack("<IIQ", 9, 8, 2**40)
        self.reject(tmp_path, self.head(pairs=1) + array + bytes(64), "claims")
        many = self.text(b"k") + struct.pack("<IIQ", 9, 4, 2**21)
        self.reject(tmp_path, self.head(pairs=1) + many, "needs")
        long = struct.pack("<Q", 2**62) + bytes(40)
        self.reject(tmp_path, self.head(pairs=1) + long, "claims to be")

    def test_broken_pairs(self, tmp_path: Path) -> None:
        pair = self.text(b"key") + struct.pack("<II", 4, 1)
        self.reject(tmp_path, self.head(pairs=2) + pair * 2, "twice")
        self.reject(tmp_path, self.head(pairs=1) + self.text(b"key") + struct.pack("<II", 77, 1), "type 77")
        self.reject(tmp_path, self.head(pairs=1) + self.text(b"\xff\xfe") + struct.pack("<II", 4, 1), "UTF-8")
        nested = self.text(b"k") + struct.pack("<IIQIQ", 9, 9, 1, 4, 0)
        self.reject(tmp_path, self.head(pairs=1) + nested, "item type 9")
        torn = self.text(b"k") + struct.pack("<IIQ", 9, 8, 1) + struct.pack("<Q", 100) + b"short"
        self.reject(tmp_path, self.head(pairs=1) + torn, "ends at")
        alignment = self.text(b"general.alignment") + struct.pack("<II", 4, 24)
        self.reject(tmp_path, self.head(pairs=1) + alignment, "power of two")

    def test_broken_tensors(self, tmp_path: Path) -> None:
        def file(*tensors: bytes) -> bytes:
            return (self.head(tensors=len(tensors)) + b"".join(tensors)).ljust(256, b"\0")

        self.reject(tmp_path, file(self.tensor(b"w", [2**40, 2**40], 0, 0)), "ends at byte")
        self.reject(tmp_path, file(self.tensor(b"w", [4], 0, 2**50)), "ends at byte")
        self.reject(tmp_path, file(self.tensor(b"w", [4], 0, 7)), "multiple")
        self.reject(tmp_path, file(self.tensor(b"w", [33], 8, 0)), "blocks")
        self.reject(tmp_path, file(self.tensor(b"w", [0], 0, 0)), "blocks")
        self.reject(tmp_path, file(self.tensor(b"w", [], 0, 0)), "0 dimensions")
        self.reject(tmp_path, file(self.tensor(b"w", [1] * 5, 0, 0)), "5 dimensions")
        twice = self.tensor(b"w", [4], 0, 0)
        self.reject(tmp_path, file(twice, twice), "twice")

    def test_a_type_from_the_future_is_listed(self, tmp_path: Path) -> None:
        path = tmp_path / "new.gguf"
        path.write_bytes((self.head(tensors=1) + self.tensor(b"w", [4], 999, 0)).ljust(256, b"\0"))
        with GGUFFile.open(path) as file:
            assert file.tensors["w"].type_name == "type 999"
            with pytest.raises(UnsupportedModel, match="type 999"):
                file.raw("w")

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_any_mutation_is_read_or_refused(self, model: Path, tmp_path: Path, data: st.DataObject) -> None:
        content = bytearray(model.read_bytes())
        head = 8000
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, head))
            replacement = data.draw(st.binary(min_size=1, max_size=9))
            content[at : at + len(replacement)] = replacement
        if data.draw(st.booleans()):
            del content[data.draw(st.integers(0, len(content))) :]
        path = tmp_path / "mutant.gguf"
        path.write_bytes(content)
        try:
            with GGUFFile.open(path) as file:
                for name, info in file.tensors.items():
                    if info.type_name in READABLE_TYPES:
                        assert file.raw(name).size == info.num_bytes
        except (PullError, UnsupportedModel):
            pass
