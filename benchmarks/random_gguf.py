"""A GGUF with random weights in the shape of a real model, to measure speed and memory where none can be downloaded.

The tokenizer is the default model's, padded with made-up tokens to the size of the vocabulary, so llama.cpp and LLMOS
can both serve the file; what they answer is noise. Types are mixed as llama.cpp's quantize mixes them. Needs `gguf`
(`make install-dev`) and, for the tokenizer, a file of smollm2:135m (`llmos pull smollm2:135m`).

    python benchmarks/random_gguf.py llama-3.2-1b Q4_K_M random-1b.gguf
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np
import numpy.typing as npt

from llmos_server.gguf.reader import GGUFFile
from llmos_server.gguf.types import READABLE_TYPES
from llmos_server.registry.registry import Registry
from llmos_server.settings import find_home

Blocks = npt.NDArray[np.uint8]
DEVIATION = 0.02
"""Of the weights: hidden states stay finite through any number of normalised layers."""
CHUNK_BYTES = 1 << 25


class Shape(NamedTuple):
    """Of a Llama 3 model. rope_factor: how much farther than 8192 tokens its positions were stretched."""

    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    is_tied: bool
    rope_factor: float


SHAPES = {
    "llama-3.2-1b": Shape(2048, 8192, 16, 32, 8, 64, 128256, True, 32.0),
    "llama-3.1-8b": Shape(4096, 14336, 32, 32, 8, 128, 128256, False, 8.0),
}
ROPE_THETA, FIRST_CONTEXT, CONTEXT = 500000.0, 8192, 131072
LOW_FREQUENCY, HIGH_FREQUENCY = 1.0, 4.0


def type_of(name: str, layer: int, shape: Shape, mix: str) -> str:
    """What llama.cpp's quantize makes of a matrix. name: without `.weight` and without the block."""
    if mix == "Q8_0":
        return "Q8_0"
    if name == ("token_embd" if shape.is_tied else "output"):
        return "Q6_K"
    if mix == "Q4_K_M":
        return "Q6_K" if name in ("attn_v", "ffn_down") and use_more_bits(layer, shape.layers) else "Q4_K"
    return mix


def use_more_bits(layer: int, layers: int) -> bool:
    """The first and the last eighth of the layers, and every third one between."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def tensors_of(shape: Shape, mix: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name -> (row-major shape, type)."""
    top = {"token_embd": (shape.vocab, shape.hidden)}
    if not shape.is_tied:
        top["output"] = (shape.vocab, shape.hidden)
    q_size, kv_size = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    block = {
        "attn_q": (q_size, shape.hidden),
        "attn_k": (kv_size, shape.hidden),
        "attn_v": (kv_size, shape.hidden),
        "attn_output": (shape.hidden, q_size),
        "ffn_gate": (shape.inner, shape.hidden),
        "ffn_up": (shape.inner, shape.hidden),
        "ffn_down": (shape.hidden, shape.inner),
    }
    found: dict[str, tuple[tuple[int, ...], str]] = {
        "rope_freqs.weight": ((shape.head_dim // 2,), "F32"),
        "output_norm.weight": ((shape.hidden,), "F32"),
    }
    found |= {f"{name}.weight": (size, type_of(name, 0, shape, mix)) for name, size in top.items()}
    for layer in range(shape.layers):
        found |= {f"blk.{layer}.{norm}.weight": ((shape.hidden,), "F32") for norm in ("attn_norm", "ffn_norm")}
        found |= {
            f"blk.{layer}.{name}.weight": (size, type_of(name, layer, shape, mix)) for name, size in block.items()
        }
    return found


def rope_divisors(shape: Shape) -> npt.NDArray[np.float32]:
    """Llama 3's stretching, one divisor a frequency."""
    frequencies = ROPE_THETA ** -(np.arange(0, shape.head_dim, 2) / shape.head_dim)
    turns = FIRST_CONTEXT * frequencies / (2 * math.pi)
    blend = np.clip((turns - LOW_FREQUENCY) / (HIGH_FREQUENCY - LOW_FREQUENCY), 0, 1)
    return (1 / ((1 - blend) / shape.rope_factor + blend)).astype(np.float32)


class RandomBlocks:
    """Blocks of random integers under scales that give weights of mean 0 and DEVIATION."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.Generator(np.random.SFC64(seed))
        self._fill: dict[str, Callable[[Blocks], None]] = {
            "Q4_0": self._q4_0,
            "Q8_0": self._q8_0,
            "Q4_K": self._q4_k,
            "Q6_K": self._q6_k,
        }

    def make(self, type_name: str, count: int) -> Blocks:
        """[count, block_bytes]"""
        size = READABLE_TYPES[type_name].block_bytes
        blocks = np.frombuffer(bytearray(self._random.bytes(count * size)), np.uint8).reshape(count, size)
        self._fill[type_name](blocks)
        return blocks

    def _scales(self, count: int, deviation: float, *, signed: bool) -> Blocks:
        """float16, as two bytes each: of what has `deviation` at scale 1."""
        scales = self._random.uniform(0.5, 1.5, count) * DEVIATION / deviation
        if signed:
            scales *= self._random.choice((-1.0, 1.0), count)
        return scales.astype("<f2").view(np.uint8).reshape(count, 2)

    def _q4_0(self, blocks: Blocks) -> None:
        blocks[:, :2] = self._scales(len(blocks), 4.6, signed=True)

    def _q8_0(self, blocks: Blocks) -> None:
        blocks[:, :2] = self._scales(len(blocks), 74.0, signed=True)

    def _q4_k(self, blocks: Blocks) -> None:
        """A minimum's scale is 7.5, the mean of the integers, times that of the weights."""
        scales = self._scales(len(blocks), 258.0, signed=False)
        blocks[:, :2] = scales
        blocks[:, 2:4] = (scales.view("<f2") * np.float16(7.5)).view(np.uint8)

    def _q6_k(self, blocks: Blocks) -> None:
        blocks[:, 208:] = self._scales(len(blocks), 1367.0, signed=True)


def add_metadata(writer: gguf.GGUFWriter, shape: Shape, tokenizer: Path) -> None:
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.inner)
    writer.add_block_count(shape.layers)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(ROPE_THETA)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocab)
    for key, value in GGUFFile.open(tokenizer).metadata.items():
        if not key.startswith("tokenizer."):
            continue
        if key == "tokenizer.ggml.tokens":
            value = [*value, *(f"Ġmade{i}up" for i in range(len(value), shape.vocab))]
        elif key == "tokenizer.ggml.token_type":
            value = [*value, *([1] * (shape.vocab - len(value)))]
        add = {bool: writer.add_bool, int: writer.add_uint32, str: writer.add_string, list: writer.add_array}
        add[type(value)](key, value)


def write(path: Path, shape: Shape, mix: str, tokenizer: Path, seed: int) -> None:
    """Chunk by chunk: a head has hundreds of megabytes."""
    writer = gguf.GGUFWriter(path, "llama")
    add_metadata(writer, shape, tokenizer)
    tensors = tensors_of(shape, mix)
    for name, (size, type_name) in tensors.items():
        layout = READABLE_TYPES[type_name]
        num_bytes = math.prod(size) // layout.block_size * layout.block_bytes
        writer.add_tensor_info(name, size, np.dtype(np.float32), num_bytes, gguf.GGMLQuantizationType[type_name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    blocks, [file] = RandomBlocks(seed), writer.fout
    for name, (size, type_name) in tensors.items():
        writer.write_padding(file, file.tell())
        if type_name == "F32":
            (rope_divisors(shape) if name.startswith("rope") else np.ones(size, np.float32)).tofile(file)
            continue
        layout = READABLE_TYPES[type_name]
        count, step = math.prod(size) // layout.block_size, CHUNK_BYTES // layout.block_bytes
        for start in range(0, count, step):
            blocks.make(type_name, min(step, count - start)).tofile(file)
    writer.write_padding(file, file.tell())
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("mix", choices=("Q4_0", "Q4_K_M", "Q8_0"), help="the head of Q4_0 is Q6_K, as llama.cpp has it")
    parser.add_argument("path", type=Path)
    parser.add_argument("--tokenizer", type=Path, help="a GGUF to take it from; that of smollm2:135m by default")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tokenizer = args.tokenizer or Path(Registry(find_home(), {}, 1.0).get("smollm2:135m").weights[0])
    write(args.path, SHAPES[args.shape], args.mix, tokenizer, args.seed)
    print(f"{args.path}: {args.path.stat().st_size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
