"""Sampling for reinforcement: tokens a second by the server's engine, and by Transformers' generate in a process of its
own, as a run without a server does it. Same model, adapter, prompts and number of tokens; one after the other.

    python benchmarks/rollouts.py --threads 2
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
from adapters import BASE, create_adapters, register, wait_ready

from llmos_server.registry.registry import create_registry
from llmos_server.settings import load_settings
from llmos_server.training.base import load_tokenizer, prepare_base

QUESTION = "Write a short story about the number {number}, a miller and a cat."


def by_transformers(folder: Path, prompts: list[list[int]], args: argparse.Namespace) -> float:
    """Tokens a second."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(args.threads)
    base = prepare_base(create_registry(load_settings()).get(BASE), load_settings().home)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), folder)
    longest = max(map(len, prompts))
    rows = [[0] * (longest - len(ids)) + ids for ids in prompts for _ in range(args.answers)]
    ids = torch.tensor(rows)
    mask = torch.tensor([[int(place >= longest - len(p)) for place in range(longest)] for p in prompts])
    mask = mask.repeat_interleave(args.answers, 0)
    length = {"max_new_tokens": args.max_tokens, "min_new_tokens": args.max_tokens, "do_sample": True}
    with torch.no_grad():
        model.generate(input_ids=ids[:1], attention_mask=mask[:1], max_new_tokens=4)
        began = time.perf_counter()
        made = model.generate(input_ids=ids, attention_mask=mask, pad_token_id=0, **length)
    return (made.shape[1] - longest) * len(rows) / (time.perf_counter() - began)


async def by_engine(url: str, prompts: list[list[int]], args: argparse.Namespace) -> float:
    """Tokens a second, the loading of the adapter included, as at every step of a run."""
    async with httpx2.AsyncClient(base_url=url, timeout=600) as client:

        async def ask(model: str, ids: list[int], n: int, max_tokens: int) -> int:
            body = {"model": model, "prompt": ids, "n": n, "max_tokens": max_tokens, "ignore_eos": True}
            reply = await client.post("/v1/completions", json=body | {"logprobs": 0, "return_token_ids": True})
            reply.raise_for_status()
            return sum(len(choice["token_ids"]) for choice in reply.json()["choices"])

        await ask(BASE, [1, 2, 3], args.answers, 8)
        began = time.perf_counter()
        asked = [ask(f"{BASE}:a0", ids, args.answers, args.max_tokens) for ids in prompts]
        return sum(await asyncio.gather(*asked)) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("prompts", 8), ("answers", 8), ("max-tokens", 64), ("threads", 1), ("port", 8138)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        ignored = shutil.ignore_patterns("*.db*", "adapters", "jobs", "files", "bases")
        shutil.copytree(load_settings().home, home, ignore=ignored, symlinks=True)
        os.environ["LLMOS_HOME"] = str(home)
        [adapter] = create_adapters(Path(folder), 1, 16)
        asyncio.run(register(home, [adapter]))
        tokenizer = load_tokenizer(prepare_base(create_registry(load_settings()).get(BASE), home))
        prompts = [tokenizer(QUESTION.format(number=number))["input_ids"] for number in range(args.prompts)]
        server = subprocess.Popen(
            [sys.executable, "-m", "llmos_server", "serve", "--port", str(args.port)],
            env={**os.environ, "LLMOS_ENGINE__THREADS": str(args.threads)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{args.port}"
            wait_ready(url)
            print(f"engine: {asyncio.run(by_engine(url, prompts, args)):.0f} tokens/s", flush=True)
        finally:
            server.terminate()
            server.wait()
        print(f"transformers: {by_transformers(adapter, prompts, args):.0f} tokens/s")


if __name__ == "__main__":
    main()
