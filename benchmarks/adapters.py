"""Throughput of one batch whose requests have eight adapters, beside the same batch with none.

The server is started with eight random adapters of the given rank on all linear layers; rounds of both kinds take
turns, so that a machine that gets slower meanwhile slows both. Run it on an idle machine:

    python benchmarks/adapters.py --rounds 6
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import numpy as np
from safetensors.numpy import save_file

from llmos_server.registry.adapter_folders import import_adapter
from llmos_server.registry.registry import create_registry
from llmos_server.registry.tensors import read_tensors
from llmos_server.settings import load_settings
from llmos_server.store.store import open_store

BASE = "smollm2:135m"
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def create_adapters(folder: Path, count: int, rank: int) -> list[Path]:
    version = create_registry(load_settings()).get(BASE)
    shapes = {
        tensor.name.removesuffix(".weight"): tensor.shape
        for tensor in read_tensors([Path(path) for path in version.weights])
        if tensor.name.removesuffix(".weight").rpartition(".")[2] in LAYERS
    }
    folders = []
    for number in range(count):
        draw, place = np.random.default_rng(number), folder / f"adapter-{number}"
        place.mkdir()
        tensors = {}
        for module, (num_out, num_in) in shapes.items():
            for side, shape in (("A", (rank, num_in)), ("B", (num_out, rank))):
                values = draw.normal(size=shape).astype(np.float32) * 0.01
                tensors[f"base_model.model.{module}.lora_{side}.weight"] = values
        save_file(tensors, place / "adapter_model.safetensors")
        config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "bias": "none", "init_lora_weights": True}
        (place / "adapter_config.json").write_text(json.dumps(config))
        folders.append(place)
    return folders


async def register(home: Path, folders: list[Path]) -> None:
    """As a0, a1 and so on, for everybody."""
    settings = dataclasses.replace(load_settings(), home=home)
    version = create_registry(settings).get(BASE)
    async with open_store(settings) as store:
        for number, folder in enumerate(folders):
            await store.adapters.register(import_adapter(home, folder, version, f"a{number}"))


async def ask(client: httpx2.AsyncClient, model: str, number: int, max_tokens: int) -> int:
    body = {
        "model": model,
        "prompt": f"Story number {number}. " + "Once upon a time there was a miller. " * 4,
        "max_tokens": max_tokens,
        "ignore_eos": True,
        "temperature": 1.0,
    }
    answer = await client.post("/v1/completions", json=body)
    answer.raise_for_status()
    return int(answer.json()["usage"]["completion_tokens"])


async def measure(url: str, models: list[str], args: argparse.Namespace) -> float:
    """Tokens a second of all requests together."""
    async with httpx2.AsyncClient(base_url=url, timeout=600) as client:
        started = time.perf_counter()
        asked = [ask(client, models[n % len(models)], n, args.max_tokens) for n in range(args.requests)]
        return sum(await asyncio.gather(*asked)) / (time.perf_counter() - started)


async def compare(url: str, names: list[str], args: argparse.Namespace) -> None:
    await measure(url, names, args)
    pairs = []
    for number in range(args.rounds):
        kinds = [[BASE], names] if number % 2 else [names, [BASE]]
        found = [await measure(url, models, args) for models in kinds]
        without, adapted = found if number % 2 else found[::-1]
        pairs.append((without, adapted))
        print(f"none {without:.1f} tokens/s, {len(names)} adapters {adapted:.1f}: {adapted / without:.3f}", flush=True)
    ratios = [adapted / without for without, adapted in pairs]
    print(
        f"median of {len(ratios)} pairs: {statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f})"
    )


def wait_ready(url: str) -> None:
    for _ in range(600):
        try:
            if httpx2.get(f"{url}/ready").status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.2)
    raise SystemExit("The server isn't ready after two minutes.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("adapters", 8), ("rank", 16), ("requests", 8), ("max-tokens", 96), ("rounds", 6)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--port", type=int, default=8137)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        ignored = shutil.ignore_patterns("*.db*", "adapters", "jobs", "files")
        shutil.copytree(load_settings().home, home, ignore=ignored, symlinks=True)
        folders = create_adapters(Path(folder), args.adapters, args.rank)
        asyncio.run(register(home, folders))
        env = {**os.environ, "LLMOS_HOME": str(home)}
        command = [sys.executable, "-m", "llmos_server", "serve", "--port", str(args.port)]
        server = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{args.port}"
            wait_ready(url)
            asyncio.run(compare(url, [f"{BASE}:a{n}" for n in range(args.adapters)], args))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
