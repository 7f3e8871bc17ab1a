"""A task that a small chat model fails at and learns in minutes: an order in plain words -> a line of a fixed format.
And the way there by the stock SDK, as its users go it."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import openai

NAMES = (
    "Anna Berg",
    "Tom Hill",
    "Mia Stone",
    "Omar Reed",
    "Lena Fox",
    "Paul West",
    "Nora Lake",
    "Ivan Rose",
    "Ella Wood",
)
CITIES = ("Oslo", "Lima", "Cairo", "Kyoto", "Dublin", "Porto", "Quito", "Delhi", "Perth", "Turin", "Malmo", "Lyon")
ITEMS = ("lamps", "chairs", "books", "maps", "bells", "ropes", "clocks", "bowls", "kites", "drums", "boots", "pens")
SENTENCES = (
    "{name} from {city} ordered {count} {item}.",
    "Please send {count} {item} to {name} in {city}.",
    "{count} {item} for {name}, who lives in {city}.",
    "In {city}, {name} is waiting for {count} {item}.",
)
POLL_SECONDS = 0.5


def orders(num: int, seed: int) -> list[tuple[str, str]]:
    """Different ones: what a client writes, and the line that is wanted."""
    chance = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < num:
        name, city, item = chance.choice(NAMES), chance.choice(CITIES), chance.choice(ITEMS)
        count, sentence = chance.randint(2, 99), chance.choice(SENTENCES)
        text = sentence.format(name=name, city=city, item=item, count=count)
        found[text] = f"{city.upper()} | {name} | {count} x {item}"
    return list(found.items())


def training_lines(pairs: list[tuple[str, str]]) -> bytes:
    chats = (
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": wanted}]}
        for text, wanted in pairs
    )
    return b"".join(json.dumps(chat).encode() + b"\n" for chat in chats)


def tune(client: openai.OpenAI, pairs: list[tuple[str, str]], seconds: float, **fields: Any) -> Any:
    """The job when it has succeeded."""
    file = client.files.create(file=("orders.jsonl", training_lines(pairs)), purpose="fine-tune")
    made = client.fine_tuning.jobs.create(training_file=file.id, seed=1, **fields)
    done = wait(lambda: client.fine_tuning.jobs.retrieve(made.id), ("succeeded", "failed", "cancelled"), seconds)
    assert done.status == "succeeded", done.error
    return done


def answer(client: openai.OpenAI, model: str, text: str) -> str:
    messages = [{"role": "user", "content": text}]
    chat = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=40)  # type: ignore[arg-type]
    return chat.choices[0].message.content or ""


def wait(look: Any, ends: tuple[str, ...], seconds: float) -> Any:
    """What look() gives, when its status is one of these."""
    deadline = time.monotonic() + seconds
    while (found := look()).status not in ends:
        assert time.monotonic() < deadline, f"still {found.status} after {seconds} s: {found}"
        time.sleep(POLL_SECONDS)
    return found
