"""Checkpoint files to tensors: shards, types, GGUF's order of rows, and errors that name the tensor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from llmos_server.engine.model_runner import create_runner
from llmos_server.errors import EngineFailed, UnsupportedModel
from llmos_server.gguf.names import from_gguf
from llmos_server.models.config import load_config
from llmos_server.models.weights import WeightLoader, open_weights, unpermute

Tensors = dict[str, torch.Tensor]
CPU = torch.device("cpu")


@pytest.fixture
def tiny(checkpoint: Callable[[str], Any]) -> Any:
    return checkpoint("llama")


@pytest.fixture
def tensors(tiny: Any) -> Tensors:
    return load_file(next(tiny.folder.glob("*.safetensors")))


def save(folder: Path, tensors: Tensors, name: str = "model.safetensors") -> Path:
    save_file(tensors, folder / name)
    return folder / name


def test_shards_and_types(tiny: Any, tensors: Tensors, tmp_path: Path) -> None:
    names = sorted(tensors)
    halves = {name: tensors[name].to(torch.bfloat16) for name in names[::2]}
    first = save(tmp_path, halves, "a.safetensors")
    second = save(tmp_path, {name: tensors[name].to(torch.float16) for name in names[1::2]}, "b.safetensors")
    loader = WeightLoader(open_weights([first, second], load_config(tiny.folder)), CPU)
    for name in names:
        kind = torch.bfloat16 if name in halves else torch.float16
        assert torch.equal(loader.load(name), tensors[name].to(kind).float())


def test_joined_tensors(tiny: Any, tensors: Tensors) -> None:
    loader = WeightLoader(open_weights(list(tiny.folder.glob("*.safetensors")), load_config(tiny.folder)), CPU)
    parts = [f"model.layers.1.self_attn.{part}_proj.weight" for part in "qkv"]
    assert torch.equal(loader.load(*parts), torch.cat([tensors[part] for part in parts]))
    assert loader.load_biases(["model.layers.1.self_attn.q_proj.bias"]) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.norm.weight": None}, r"lack model\.norm\.weight"),
        ({"model.layers.9.extra": torch.ones(1)}, r"unexpected model\.layers\.9\.extra"),
        ({"model.norm.weight": torch.ones(7)}, r"model\.norm\.weight is \[7\], not \[48\]"),
        ({"model.norm.weight": torch.ones(48, dtype=torch.int8)}, r"'model\.norm\.weight' is of type I8"),
        ({"model.layers.0.self_attn.q_proj.bias": torch.ones(48)}, r"unexpected .*q_proj\.bias"),
    ],
)
def test_tensors_that_dont_fit_are_named(
    tiny: Any, tensors: Tensors, tmp_path: Path, change: dict[str, torch.Tensor | None], message: str
) -> None:
    kept = {name: tensor for name, tensor in (tensors | change).items() if tensor is not None}
    with pytest.raises(UnsupportedModel, match=message):
        open_weights([save(tmp_path, kept)], load_config(tiny.folder))


def test_a_tensor_in_two_shards(tiny: Any, tensors: Tensors, tmp_path: Path) -> None:
    paths = [save(tmp_path, tensors, name) for name in ("a.safetensors", "b.safetensors")]
    with pytest.raises(UnsupportedModel, match="in another shard too"):
        open_weights(paths, load_config(tiny.folder))


def test_old_rope_buffers_are_left_out(tiny: Any, tensors: Tensors, tmp_path: Path) -> None:
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4, dtype=torch.float64)
    open_weights([save(tmp_path, tensors)], load_config(tiny.folder))


def test_a_tied_head_may_be_stored_but_not_differ(checkpoint: Callable[[str], Any], tmp_path: Path) -> None:
    tied = checkpoint("llama-mha-tied")
    tensors = load_file(next(tied.folder.glob("*.safetensors")))
    head = tensors["model.embed_tokens.weight"].clone()
    open_weights([save(tmp_path, tensors | {"lm_head.weight": head})], load_config(tied.folder))
    with pytest.raises(UnsupportedModel, match=r"another lm_head\.weight"):
        open_weights([save(tmp_path, tensors | {"lm_head.weight": head + 1})], load_config(tied.folder))


@pytest.mark.parametrize("names", [[], ["model.bin"], ["a.gguf", "b.gguf"], ["a.gguf", "b.safetensors"]])
def test_other_files_are_refused(tiny: Any, names: list[str]) -> None:
    with pytest.raises(UnsupportedModel, match=r"one \.gguf or as \.safetensors"):
        open_weights([Path(name) for name in names], load_config(tiny.folder))


def test_a_file_that_is_no_safetensors(tiny: Any, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(UnsupportedModel, match="Pull the model again"):
        open_weights([tmp_path / "model.safetensors"], load_config(tiny.folder))


def permute(rows: np.ndarray, num_heads: int) -> np.ndarray:
    """What converters to GGUF do to llama's q and k."""
    halves = rows.reshape(num_heads, 2, rows.shape[0] // num_heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def test_unpermute_undoes_the_converters_order() -> None:
    rows = np.arange(24 * 3, dtype=np.float32).reshape(24, 3)
    assert np.array_equal(unpermute(torch.from_numpy(permute(rows, 3).copy()), 3).numpy(), rows)


def write_gguf(path: Path, architecture: str, tensors: Tensors, heads: dict[str, int]) -> Path:
    gguf_names = {from_gguf(name): name for name in _gguf_names(num_layers=2)}
    writer = gguf.GGUFWriter(path, architecture)
    for name, tensor in tensors.items():
        values = tensor.numpy()
        for part, num_heads in heads.items():
            values = permute(values, num_heads) if f".{part}." in name else values
        writer.add_tensor(gguf_names[name], np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _gguf_names(num_layers: int) -> list[str]:
    parts = ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "attn_q_norm", "attn_k_norm"]
    parts += ["ffn_norm", "ffn_gate", "ffn_up", "ffn_down"]
    blocks = [
        f"blk.{layer}.{part}.{kind}" for layer in range(num_layers) for part in parts for kind in ("weight", "bias")
    ]
    return [*blocks, "token_embd.weight", "output_norm.weight", "output.weight"]


@pytest.mark.parametrize(
    ("name", "architecture"),
    [("llama", "llama"), ("llama-biases", "llama"), ("qwen2-tied", "qwen2"), ("qwen3", "qwen3")],
)
def test_gguf_holds_the_same_tensors(
    checkpoint: Callable[[str], Any], tmp_path: Path, name: str, architecture: str
) -> None:
    tiny = checkpoint(name)
    config = load_config(tiny.folder)
    tensors = load_file(next(tiny.folder.glob("*.safetensors")))
    heads = {"q_proj": config.num_heads, "k_proj": config.num_kv_heads} if architecture == "llama" else {}
    loader = WeightLoader(open_weights([write_gguf(tmp_path / "m.gguf", architecture, tensors, heads)], config), CPU)
    for tensor_name, expected in tensors.items():
        assert torch.equal(loader.load(tensor_name), expected)


def test_gguf_of_another_architecture(tiny: Any, tensors: Tensors, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", "gemma", tensors, {})
    with pytest.raises(UnsupportedModel, match="'gemma'"):
        open_weights([path], load_config(tiny.folder))


def test_the_published_limits(tiny: Any) -> None:
    info = tiny.load(page_size=4, cache_bytes=10 * 2 * 4 * 2 * 2 * 4 * 8).info
    assert (info.num_pages, info.max_model_len, info.context_length, info.page_size) == (10, 40, 512, 4)
    assert (info.vocab_size, info.dtype, info.device, info.architecture) == (97, "float32", "cpu", "llama")


def test_a_budget_below_one_page(tiny: Any) -> None:
    with pytest.raises(EngineFailed, match=r"engine\.cache_bytes = 100 "):
        tiny.load(cache_bytes=100)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_cuda_that_isnt_there_is_refused_plainly(tiny: Any) -> None:
    config = msgspec.structs.replace(tiny.worker_config(), device="cuda")
    with pytest.raises(EngineFailed, match="--device cpu"):
        create_runner(config)
