"""Three tiny models, clients that mix them, and what each of the models must answer.

A plain module: conftest.py puts this folder on sys.path.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import tiny_models
import torch

from llmos_server.registry.progress import QuietProgress
from llmos_server.registry.registry import Registry

FAMILIES = ("llama", "qwen2", "mistral")
PROMPTS = ("The sea is", "I'm sure they've seen 1,234", "naïve café, Zürich; ", "the sky is wider than")
NUM_TOKENS = 24
BUDGET_FOR_TWO = 900 * 2**20
"""A worker is accounted with 400 MiB and its pages; these models weigh next to nothing."""
CACHE_BYTES = 2**20


def create_references(folder: Path, home: Path) -> dict[str, dict[str, str]]:
    """Make the models, pull them into `home`; name -> prompt -> the greedy continuation that Transformers gives."""
    registry = Registry(home, {}, 1.0)
    references = {}
    for place, family in enumerate(FAMILIES):
        tokenizer = tiny_models.train_tokenizer()
        model = tiny_models.create_model(tokenizer, family, num_hidden_layers=2 + place)
        tiny_models.save_folder(folder / family, model, tokenizer)
        name = registry.pull(f"file:{folder / family}", QuietProgress()).name
        references[name] = {}
        for prompt in PROMPTS:
            ids = torch.tensor([tokenizer.encode(prompt).ids])
            with torch.no_grad():
                whole = model.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=NUM_TOKENS, do_sample=False,
                    eos_token_id=None, pad_token_id=0,
                )  # fmt: skip
            references[name][prompt] = tokenizer.decode(whole[0, ids.shape[1] :].tolist())
    assert len({tuple(texts.items()) for texts in references.values()}) == len(FAMILIES), "they could be confused"
    return references


@dataclass
class Tally:
    """What became of the requests."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def drive(url: str, references: dict[str, dict[str, str]], *, clients: int, requests: int, seed: int) -> Tally:
    """Every client sends so many requests one after the other: a random model and prompt; whole, streamed, left."""
    tally = Tally()
    limits = httpx2.Limits(max_connections=clients)
    async with httpx2.AsyncClient(base_url=url, timeout=300, limits=limits, trust_env=False) as http:
        await asyncio.gather(
            *(
                _client(http, references, random.Random(f"{seed}-{number}"), requests, tally)
                for number in range(clients)
            )
        )
    return tally


async def _client(
    http: httpx2.AsyncClient, references: dict[str, dict[str, str]], chance: random.Random, requests: int, tally: Tally
) -> None:
    for _ in range(requests):
        model = chance.choice(list(references))
        prompt = chance.choice(PROMPTS)
        how = chance.choice(["whole", "streamed", "left"])
        body = {
            "model": model, "prompt": prompt, "max_tokens": NUM_TOKENS, "temperature": 0, "ignore_eos": True,
            "stream": how != "whole",
        }  # fmt: skip
        if how == "whole":
            reply = await http.post("/v1/completions", json=body)
            text = reply.json()["choices"][0]["text"] if reply.status_code == 200 else reply.text
        else:
            text = await _stream(http, body, leaves=how == "left", chance=chance)
        tally.outcomes[how] += 1
        expected = references[model][prompt]
        if text != expected if how != "left" else not expected.startswith(text):
            tally.wrong.append(f"{model}, {how}, {prompt!r}: {text!r} instead of {expected!r}")


async def _stream(http: httpx2.AsyncClient, body: dict[str, object], *, leaves: bool, chance: random.Random) -> str:
    """The text so far; one that leaves does so after some chunks, perhaps none."""
    parts: list[str] = []
    patience = chance.randrange(0, 8)
    async with http.stream("POST", "/v1/completions", json=body) as reply:
        if reply.status_code != 200:
            return (await reply.aread()).decode()
        async for line in reply.aiter_lines():
            if leaves and len(parts) >= patience:
                break
            if line.startswith("data:") and "[DONE]" not in line:
                chunk = json.loads(line[5:])
                parts.append(chunk["choices"][0]["text"] if "choices" in chunk else line)
    return "".join(parts)
